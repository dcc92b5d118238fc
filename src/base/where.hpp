// Which nodes of a cluster may do a task or have an actor, and how it is chosen among them.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cluster_ids.hpp"

namespace rayx::base {

// Every node has it beside the labels that it was given: its value is the node's id as text.
inline constexpr std::string_view kNodeIdLabel = "rayx/node-id";

bool matches(NodeId node, const Labels& labels, const LabelSelector& selector);
// All of them.
bool matches(NodeId node, const Labels& labels, const std::vector<LabelSelector>& selectors);
// "zone is one of a, b and gpu is none of t4", for messages.
std::string to_text(const std::vector<LabelSelector>& selectors);

struct Where {
  std::vector<LabelSelector> selectors;  // the node fulfils all of them
  bool spreads = false;                  // where the least is at work, also if another node has what it needs

  bool is_anywhere() const { return selectors.empty() && !spreads; }
  bool operator==(const Where&) const = default;
};

inline constexpr std::size_t kWhereBytesMax = 4096;
inline constexpr std::size_t kSelectorsMax = 64;
inline constexpr std::size_t kLabelBytesMax = 255;  // of a key or a value

// One text for each meaning: it serves as a key. Empty: anywhere.
std::string encode(const Where& where);
// Nothing if it is not what encode() has written.
std::optional<Where> decode_where(std::string_view text);

}  // namespace rayx::base

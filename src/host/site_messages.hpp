// What the two ends of a site's link say before tasks cross: which job it is, what its program consists of, and whether the other
// end could start it. From kOpened on, the link carries the relays' frames.
//
//   opener                          host
//   kOpen {job, program}    ->
//                           <-      kNeed {files}         if some are not in its cache
//   payload of each file    ->      stream = the file's place in the manifest
//                           <-      kOpened | kFailed {why}
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include <rayx/result.hpp>

#include "base/cluster_ids.hpp"

namespace rayx::host {

struct OpenSite {
  base::NodeId node;  // that is meant; another one may have its address by now
  base::NodeId driver;
  base::JobId job;
  std::uint64_t submit_timeout_ns = 0;
  std::uint64_t pending_max = 0;
  std::string name;                 // of the program, for people
  std::string modules;              // FunctionNumbers::encode
  std::vector<std::byte> manifest;  // bundle::encode
};
struct NeedFiles {
  std::vector<std::uint32_t> files;  // places in the manifest
};
struct Opened {};
struct Failed {
  std::string why;
};

using SiteMessage = std::variant<OpenSite, NeedFiles, Opened, Failed>;

std::vector<std::byte> encode(const SiteMessage& message);
// Any bytes.
Result<SiteMessage> decode_site_message(std::span<const std::byte> bytes);

// What the head keeps of a job's program for its detached actors, so that a node can begin a site for them by itself.
std::string text_for_head(const OpenSite& open);
Result<OpenSite> read_text_of_head(const std::string& text);

// What a link is for: the hello of who connects.
inline constexpr const char* kSiteHello = "rayx site 1";

}  // namespace rayx::host

#include "base/where.hpp"

#include <algorithm>

namespace rayx::base {
namespace {

void put_text(std::string& out, std::string_view text) {
  out.push_back(static_cast<char>(text.size()));  // at most kLabelBytesMax
  out += text;
}
bool take_byte(std::string_view& rest, std::uint8_t& byte) {
  if (rest.empty()) return false;
  byte = static_cast<std::uint8_t>(rest.front());
  rest.remove_prefix(1);
  return true;
}
bool take_text(std::string_view& rest, std::string& text) {
  std::uint8_t size = 0;
  if (!take_byte(rest, size) || rest.size() < size) return false;
  text = rest.substr(0, size);
  rest.remove_prefix(size);
  return true;
}

}  // namespace

bool matches(NodeId node, const Labels& labels, const LabelSelector& selector) {
  if (selector.key != kNodeIdLabel) return matches(labels, selector);
  const bool is_one = std::find(selector.values.begin(), selector.values.end(), to_text(node)) != selector.values.end();
  return is_one != selector.is_negated;
}

bool matches(NodeId node, const Labels& labels, const std::vector<LabelSelector>& selectors) {
  return std::all_of(selectors.begin(), selectors.end(), [&](const auto& it) { return matches(node, labels, it); });
}

std::string to_text(const std::vector<LabelSelector>& selectors) {
  std::string text;
  for (const LabelSelector& selector : selectors) {
    text += (text.empty() ? "" : " and ") + selector.key + (selector.is_negated ? " is none of " : " is one of ");
    for (std::size_t i = 0; i < selector.values.size(); ++i) text += (i == 0 ? "" : ", ") + selector.values[i];
  }
  return text;
}

std::string encode(const Where& where) {
  if (where.is_anywhere()) return {};
  std::string out(1, where.spreads ? '\1' : '\0');
  for (const LabelSelector& selector : where.selectors) {
    out.push_back(selector.is_negated ? '\1' : '\0');
    put_text(out, selector.key);
    out.push_back(static_cast<char>(selector.values.size()));
    for (const std::string& value : selector.values) put_text(out, value);
  }
  return out;
}

std::optional<Where> decode_where(std::string_view text) {
  Where where;
  if (text.empty()) return where;
  if (text.size() > kWhereBytesMax) return std::nullopt;
  std::uint8_t flag = 0;
  if (!take_byte(text, flag) || flag > 1) return std::nullopt;
  where.spreads = flag == 1;
  while (!text.empty()) {
    LabelSelector& selector = where.selectors.emplace_back();
    std::uint8_t values = 0;
    if (!take_byte(text, flag) || flag > 1 || !take_text(text, selector.key) || !take_byte(text, values))
      return std::nullopt;
    selector.is_negated = flag == 1;
    for (; values != 0; --values)
      if (!take_text(text, selector.values.emplace_back())) return std::nullopt;
  }
  if (where.is_anywhere()) return std::nullopt;
  return where;
}

}  // namespace rayx::base

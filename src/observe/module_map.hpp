// One line of /proc/self/maps, parsed without allocation: a signal handler uses it too.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace rayx::observe {

struct MapLine {
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::uint64_t file_offset = 0;
  std::string_view path;  // empty for anonymous memory; without " (deleted)"
};

// False if it is not such a line. Async-signal-safe.
inline bool parse_map_line(std::string_view line, MapLine& out) {
  std::size_t at = 0;
  const auto hex = [&](std::uint64_t& value) {
    value = 0;
    const std::size_t start = at;
    for (; at < line.size(); ++at) {
      const char c = line[at];
      const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
      if (digit < 0) break;
      value = value * 16 + static_cast<std::uint64_t>(digit);
    }
    return at > start;
  };
  if (!hex(out.begin) || at >= line.size() || line[at] != '-') return false;
  ++at;
  if (!hex(out.end) || at + 6 > line.size()) return false;
  at += 6;  // " r-xp "
  if (!hex(out.file_offset)) return false;
  const std::size_t slash = line.find('/', at);  // after "03:01 1234  "; device and inode hold none
  out.path = slash == std::string_view::npos ? std::string_view() : line.substr(slash);
  constexpr std::string_view kDeleted = " (deleted)";
  if (out.path.size() > kDeleted.size() && out.path.substr(out.path.size() - kDeleted.size()) == kDeleted) {
    out.path.remove_suffix(kDeleted.size());
  }
  return true;
}

}  // namespace rayx::observe

#include "http/printable.hpp"

namespace rayx::http {

std::string printable(std::string_view text, std::size_t chars_max) {
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool is_space = byte <= ' ' || byte == 0x7f;
    if (is_space && (result.empty() || result.back() == ' ')) continue;
    if (result.size() == chars_max) return result + "…";
    result += is_space ? ' ' : byte < 0x80 ? c : '?';
  }
  while (!result.empty() && result.back() == ' ') result.pop_back();
  return result;
}

}  // namespace rayx::http

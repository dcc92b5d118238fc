// The name of a function, method or type as the compiler spells it, without the decoration. No type information at run time.
#pragma once

#include <string_view>
#include <type_traits>

namespace rayx::detail {

template <auto kRayxName>
constexpr std::string_view spell_value() {
  return __PRETTY_FUNCTION__;
}
template <class RayxName>
constexpr std::string_view spell_type() {
  return __PRETTY_FUNCTION__;
}

// From "... [with auto kRayxName = square; std::string_view = ...]" (GCC) and "... [kRayxName = &square]" (Clang).
constexpr std::string_view cut_name(std::string_view spelled) {
  constexpr std::string_view kMark = "ayxName = ";
  const std::size_t begin = spelled.find(kMark);
  if (begin == std::string_view::npos) return spelled;
  spelled.remove_prefix(begin + kMark.size());
  int depth = 0;  // "f<std::pair<int, int>; 3>" keeps what is inside brackets
  std::size_t end = 0;
  for (; end < spelled.size(); ++end) {
    const char c = spelled[end];
    if (c == '<' || c == '(' || c == '[' || c == '{') ++depth;
    if ((c == ']' || c == ';') && depth == 0) break;
    if (c == '>' || c == ')' || c == ']' || c == '}') --depth;
  }
  spelled = spelled.substr(0, end);
  if (spelled.starts_with('&')) spelled.remove_prefix(1);
  return spelled;
}

template <auto kFunction>
std::string_view name_of_value() {
  static constexpr std::string_view kName = cut_name(spell_value<kFunction>());
  return kName;
}
template <class T>
std::string_view name_of_type() {
  static constexpr std::string_view kName = cut_name(spell_type<T>());
  return kName;
}

}  // namespace rayx::detail

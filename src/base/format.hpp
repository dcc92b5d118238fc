// Text from a pattern, as fmt::format makes it, for messages. fmt itself is compiled once, in format.cc: with its headers alone each file
// that formats takes 10 s to compile, with this 2.
#pragma once

#include <fmt/core.h>

#include <string>

namespace rayx::base {

std::string format_all(fmt::string_view pattern, fmt::format_args values);

// The pattern is checked at compile time. Allocates; not for signal handlers.
template <class... Values>
std::string format(fmt::format_string<Values...> pattern, Values&&... values) {
  return format_all(pattern, fmt::make_format_args(values...));
}

}  // namespace rayx::base

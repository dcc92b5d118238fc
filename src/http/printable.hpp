// Bytes of a stranger, made fit for a message.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rayx::http {

// At most `chars_max` characters, then "…". Control characters and runs of white space become one space; bytes that are no ASCII, '?'.
std::string printable(std::string_view text, std::size_t chars_max);

}  // namespace rayx::http

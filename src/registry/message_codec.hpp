// The messages between the head and its members as bytes, and back from any bytes.
#pragma once

#include <string>
#include <string_view>

#include <rayx/result.hpp>

#include "registry/messages.hpp"

namespace rayx::registry {

std::string encode(const ToHead& message);
std::string encode(const ToMember& message);
// kMalformed: what came is no message of this version. Sizes of names and values are the head's to judge (limits.hpp).
Result<ToHead> decode_to_head(std::string_view bytes);
Result<ToMember> decode_to_member(std::string_view bytes);

}  // namespace rayx::registry

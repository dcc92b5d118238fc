#include "registry/message_codec.hpp"

#include <optional>
#include <utility>

#include "registry/message_fields.hpp"

namespace rayx::registry {

namespace {

template <class Message>
Result<Message> decode(std::string_view bytes, const char* whose) {
  std::optional<Message> message = from_bytes<Message>(bytes);
  if (message) return std::move(*message);
  return Error{ErrorCode::kMalformed, std::string("rayx: a message of ") + whose + " with " +
                                          std::to_string(bytes.size()) +
                                          " bytes cannot be read; use the same version of rayx everywhere"};
}

}  // namespace

std::string encode(const ToHead& message) { return to_bytes(message); }
std::string encode(const ToMember& message) { return to_bytes(message); }
Result<ToHead> decode_to_head(std::string_view bytes) { return decode<ToHead>(bytes, "a member"); }
Result<ToMember> decode_to_member(std::string_view bytes) { return decode<ToMember>(bytes, "the head"); }

}  // namespace rayx::registry

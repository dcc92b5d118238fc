// What a master says, from the bytes of its answer. Knows no socket.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "rayx/result.hpp"

namespace rayx::spark {

// The fields of all of Spark's answers. Nothing: the answer has none (each version and each kind of answer has its own).
struct RestAnswer {
  std::string action;  // "CreateSubmissionResponse", "ErrorResponse", …
  std::optional<std::string> message;
  std::optional<std::string> server_version;
  std::optional<bool> success;
  std::optional<std::string> submission_id;
  std::optional<std::string> driver_state;
  std::optional<std::string> worker_id;
  std::optional<std::string> worker_address;
  std::optional<std::string> highest_protocol_version;
};

// An error in words to stand behind the server's name ("answered with …"): kInvalidConfig for a web page, which no REST server of
// Spark's sends with 200; kMalformed for anything else that is no answer of the protocol. Any bytes are safe.
Result<RestAnswer> parse_answer(std::string_view body, std::string_view content_type);

// What a body says to a person, in a line: the message of an answer of Spark's without its stack, or the title or beginning of a web page.
std::string gist(std::string_view body, std::string_view content_type);

// The master is there, but another one is active, or it is about to become so.
bool is_standby(const RestAnswer& answer);

}  // namespace rayx::spark

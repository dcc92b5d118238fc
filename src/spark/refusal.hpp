// What an answer that is not 200 means for a user of Spark's REST server.
#pragma once

#include "http/exchange.hpp"
#include "rayx/result.hpp"

namespace rayx::spark {

// In words to stand behind the server's name: "refused the request with 403: …". `had_token`: the request carried one.
Error describe_refusal(const http::Response& response, bool had_token);

// The server, or a proxy before it, failed: the request may have been carried out all the same, and another master may be well.
inline bool is_server_failure(int status) { return status >= 500; }

}  // namespace rayx::spark

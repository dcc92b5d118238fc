// A small HTTP/1.1 server: one request and one answer for each connection, all of them on one thread that never waits for a client, and
// a limit for everything that a stranger sends.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include <rayx/result.hpp>

#include "base/unique_fd.hpp"

namespace rayx::http {

struct ServerRequest {
  std::string method;
  std::string path;                            // as it was sent, with the query
  std::map<std::string, std::string> headers;  // names in lower case; of a name that comes twice, the last
  std::string body;
  std::string peer;  // "10.0.0.7:4711"
};

struct ServerResponse {
  int status = 200;
  std::string type = "text/plain; charset=utf-8";
  std::string body = {};
  // Instead of a body: so many bytes of a file, from its begin. One that ends earlier ends the connection, so that the client sees it.
  base::UniqueFd file = {};
  std::uint64_t file_bytes = 0;
};

struct ServerConfig {
  std::string address = "127.0.0.1";  // numbers
  std::uint16_t port = 0;             // 0: any that is free
  std::size_t connections_max = 512;  // beyond it the one goes that has taken longest to say what it wants
  std::size_t head_bytes_max = 16 << 10;
  std::size_t body_bytes_max = 256 << 10;
  std::chrono::milliseconds request_timeout{10'000};  // until the whole request is there
  std::chrono::milliseconds send_timeout{30'000};     // in which a part of the answer must be taken
  std::chrono::milliseconds answer_timeout{600'000};  // until all of it is
};

class Server {
 public:
  // Called on the server's thread: everybody waits for it, so it should take milliseconds at most.
  using Handler = std::function<ServerResponse(const ServerRequest&)>;

  static Result<std::unique_ptr<Server>> start(ServerConfig config, Handler handler);
  // Cuts the connections that are open, also in the middle of an answer; returns when no handler runs.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port() const;

 private:
  class Loop;
  explicit Server(std::unique_ptr<Loop> loop);
  std::unique_ptr<Loop> loop_;
};

}  // namespace rayx::http

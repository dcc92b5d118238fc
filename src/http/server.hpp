// A small HTTP/1.1 server: one request for each connection, one thread for each of a bounded number of connections, and a limit for
// everything that a stranger sends.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

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
  // Instead of a body: so many bytes of a file, from its begin.
  base::UniqueFd file = {};
  std::uint64_t file_bytes = 0;
};

struct ServerConfig {
  std::string address = "127.0.0.1";  // numbers
  std::uint16_t port = 0;             // 0: any that is free
  int connections_max = 64;           // further ones wait in the kernel's queue
  std::size_t head_bytes_max = 16 << 10;
  std::size_t body_bytes_max = 256 << 10;
  std::chrono::milliseconds request_timeout{10'000};  // until the whole request is there
  std::chrono::milliseconds send_timeout{30'000};     // in which a part of the answer must be taken
};

class Server {
 public:
  // Called by many threads at a time.
  using Handler = std::function<ServerResponse(const ServerRequest&)>;

  static Result<std::unique_ptr<Server>> start(ServerConfig config, Handler handler);
  // Cuts the connections that are open; returns when no handler runs.
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  std::uint16_t port() const { return port_; }

 private:
  struct Connection {
    base::UniqueFd socket;
    std::string peer;
    std::thread thread;
    bool is_done = false;
  };

  Server(ServerConfig config, Handler handler, base::UniqueFd listener, base::UniqueFd wake, std::uint16_t port);
  void accept_all();
  void serve(Connection& connection);
  bool read_request(int socket, ServerRequest& request, ServerResponse& refusal) const;
  static void answer(int socket, const ServerResponse& response);
  void join_those_that_are_done();

  const ServerConfig config_;
  const Handler handler_;
  const base::UniqueFd listener_;
  const base::UniqueFd wake_;  // readable: end
  const std::uint16_t port_;
  std::mutex mutex_;
  std::condition_variable room_;
  std::list<Connection> connections_;
  int running_ = 0;
  bool is_ending_ = false;
  std::thread thread_;
};

}  // namespace rayx::http

// A web server of the test's own on loopback, which answers as the test says: also wrongly, slowly, or not at all.
#pragma once

#include <cstdint>
#include <functional>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/unique_fd.hpp"

namespace rayx::kit {

class HttpServer {
 public:
  struct Request {
    std::string method;
    std::string target;
    std::string head;  // with the first line
    std::string body;
    std::string header(std::string_view name) const;  // its value; empty if it is not there
  };
  struct Answer {
    enum class Then : std::uint8_t {
      kClose,
      kReset,
      kSilence,  // the connection stays, and nothing more comes
      kDrip,     // the last byte again and again, until the client has gone
    };
    std::string bytes;  // the whole of it, from "HTTP/1.1" on
    Then then = Then::kClose;
  };
  using Handler = std::function<Answer(const Request&)>;  // on the server's thread

  explicit HttpServer(Handler handler);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  const std::string& address() const { return address_; }
  std::uint16_t port() const;
  // All that came so far, in order.
  std::vector<Request> requests() const;

  // A correct answer with a Content-Length.
  static Answer ok(const std::string& body, const std::string& type = "application/json", int status = 200);

 private:
  void serve();
  void answer(base::UniqueFd connection);

  Handler handler_;
  std::string address_;
  base::UniqueFd listener_;
  base::UniqueFd stop_;
  std::vector<base::UniqueFd> silent_;  // of the server's thread
  mutable std::mutex mutex_;            // guards requests_
  std::vector<Request> requests_;
  std::thread thread_;
};

}  // namespace rayx::kit

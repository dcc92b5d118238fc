// As many handshakes as a machine can make, none of which comes to a good end: each says a correct opening, with whatever the
// caller wants to have said as a proof. For tests and for the bench; needs nothing else of the kit.
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace rayx::kit {

// Until it is destroyed; on a thread of its own, which sleeps while the other side lets all of its connections wait.
class Flood {
 public:
  struct Speech {
    std::string opening;
    std::size_t answer_bytes = 0;  // that come before the proof is sent
    std::string proof;
  };

  // "host:port" in numbers, IPv4. `width`: connections at once.
  Flood(const std::string& address, Speech speech, std::size_t width) : speech_(std::move(speech)), all_(width) {
    const std::size_t colon = address.rfind(':');
    to_.sin_family = AF_INET;
    ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &to_.sin_addr);
    to_.sin_port = htons(static_cast<std::uint16_t>(std::atoi(address.c_str() + colon + 1)));
    thread_ = std::thread([this] { run(); });
  }
  ~Flood() {
    is_ending_ = true;
    thread_.join();
    for (const Caller& caller : all_)
      if (caller.fd >= 0) ::close(caller.fd);
  }
  Flood(const Flood&) = delete;
  Flood& operator=(const Flood&) = delete;

  std::uint64_t begun() const { return begun_; }        // connections that were asked for
  std::uint64_t answered() const { return answered_; }  // that were refused after the proof, or closed at any time

 private:
  struct Caller {
    int fd = -1;
    bool has_spoken = false;
    bool has_proved = false;
    std::size_t heard = 0;
  };

  void run() {
    std::vector<pollfd> polled(all_.size());
    while (!is_ending_) {
      for (std::size_t i = 0; i < all_.size(); ++i) {
        if (all_[i].fd < 0) begin(all_[i]);
        polled[i] = {all_[i].fd, static_cast<short>(all_[i].has_spoken ? POLLIN : POLLOUT), 0};
      }
      ::poll(polled.data(), polled.size(), 20);
      for (std::size_t i = 0; i < all_.size(); ++i)
        if (polled[i].revents != 0) step(all_[i]);
    }
  }

  void begin(Caller& caller) {
    caller = {};
    caller.fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (caller.fd < 0) return;
    ::connect(caller.fd, reinterpret_cast<const sockaddr*>(&to_), sizeof(to_));
    ++begun_;
  }

  // Something can be done; a connection that is over makes place for the next one.
  void step(Caller& caller) {
    if (!std::exchange(caller.has_spoken, true)) {
      if (say(caller, speech_.opening)) return;
    } else {
      char bytes[256];
      const ssize_t read = ::recv(caller.fd, bytes, sizeof(bytes), 0);
      if (read > 0) {
        caller.heard += static_cast<std::size_t>(read);
        if (caller.heard < speech_.answer_bytes || std::exchange(caller.has_proved, true)) return;
        if (say(caller, speech_.proof)) return;
      }
    }
    ++answered_;
    // At once, so that no port waits for the rest of a goodbye.
    const linger now{.l_onoff = 1, .l_linger = 0};
    ::setsockopt(caller.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    ::close(std::exchange(caller.fd, -1));
  }

  static bool say(const Caller& caller, const std::string& text) {
    return ::send(caller.fd, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }

  const Speech speech_;
  std::vector<Caller> all_;
  sockaddr_in to_{};
  std::atomic<bool> is_ending_{false};
  std::atomic<std::uint64_t> begun_{0};
  std::atomic<std::uint64_t> answered_{0};
  std::thread thread_;
};

}  // namespace rayx::kit

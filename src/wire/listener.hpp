// Listener: takes connections, makes sure of them, and hands over links. What strangers can cost is bounded: their number, their
// time, and the handshakes of one second; nothing of theirs is computed or kept before a whole opening has come.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "rayx/result.hpp"
#include "wire/limits.hpp"
#include "wire/link.hpp"
#include "wire/loop.hpp"

namespace rayx::wire {

struct ListenerOptions {
  std::string address = "127.0.0.1";  // numbers only; "0.0.0.0" or "::" for all of the machine's
  std::uint16_t port = 0;             // 0: any that is free
  std::size_t handshakes_max = kHandshakesMax;
  std::uint32_t handshakes_per_second = kHandshakesPerSecond;
  std::uint32_t handshake_burst = kHandshakeBurst;
  std::chrono::milliseconds handshake_timeout = kHandshakeTimeout;
};

enum class RefusedWhy : std::uint8_t {
  kHandshake,  // wrong token, version or policy, garbage, time-out: the message has it
  kCrowded,    // it was the oldest of too many that were unfinished
  kNoSockets,  // the process or the machine has no descriptors left; nobody is taken for a moment
};
inline constexpr std::size_t kRefusedWhys = 3;
// One report for the first of a kind, then at most one for each kind in kRefusalReportInterval.
struct RefusedReport {
  RefusedWhy why;
  std::uint64_t count;  // since the last report of the kind, this one included
  Endpoint peer;        // of the last one
  std::string message;  // of the last one, complete
};

class Listener {
 public:
  // All calls come from the loop's thread, and none after the listener's end. A link that is not kept is closed.
  static Result<std::unique_ptr<Listener>> create(Loop& loop, const ListenerOptions& options, const LinkConfig& config,
                                                  std::function<void(std::unique_ptr<Link>)> on_link,
                                                  std::function<void(const RefusedReport&)> on_refused);
  ~Listener();
  Listener(const Listener&) = delete;
  Listener& operator=(const Listener&) = delete;

  const Endpoint& endpoint() const;  // with the port that was found
  std::size_t unfinished_handshakes() const;

 private:
  struct State;
  explicit Listener(std::shared_ptr<State> state);
  std::shared_ptr<State> state_;
};

}  // namespace rayx::wire

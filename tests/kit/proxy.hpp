// A TCP proxy for tests: links lead through it, and it makes them slow, cuts them, or damages what they carry. A thread of the
// test's process; what is drawn at random comes from kit::seed().
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

namespace rayx::kit {

class Proxy {
 public:
  enum class Way : std::uint8_t {
    kThere,  // from who connected to the target
    kBack,
  };
  // What befalls one way of a connection when so many of its bytes were forwarded since the connection began. Once, and of those
  // to come each, or so many.
  struct Fault {
    enum class Kind : std::uint8_t {
      kFlip,     // one bit of the byte at that position is wrong
      kReset,    // the connection is reset at both ends
      kSilence,  // nothing follows that way; the other one goes on
    };
    Kind kind;
    Way way;
    std::uint64_t at_byte;
    int times = 0;  // kReset: after so many, new connections are spared; 0: none is
  };
  // How connections fare: each way for itself.
  struct Weather {
    std::chrono::microseconds delay{0};   // of every piece
    std::chrono::microseconds jitter{0};  // and up to so much more; what is sent later never arrives earlier
    std::uint64_t bytes_per_s = 0;        // 0: no limit
    std::size_t piece_bytes_max = 0;      // forwarded in pieces of 1 to so many bytes, at random; 0: as they come
    // A cut cable: nothing is forwarded, not even an end, and new connections are taken and not led on. What was sent meanwhile
    // follows when it is over, as TCP sends again what was lost.
    bool is_silent = false;
    std::optional<Fault> fault = {};
  };
  static constexpr int kAll = -1;  // every connection, also those to come

  struct Options {
    std::string listen = "127.0.0.1";
    int network = -1;  // of a TestHosts, where it listens and whence it connects; -1: the test's own
  };

  explicit Proxy(const std::string& target) : Proxy(target, Options()) {}  // "host:port", host in numbers (IPv4)
  Proxy(const std::string& target, const Options& options);
  ~Proxy();  // resets what is left
  Proxy(const Proxy&) = delete;
  Proxy& operator=(const Proxy&) = delete;

  const std::string& address() const;
  // Connections in the order in which they came: 0, 1, 2.
  void set(const Weather& weather, int connection = kAll);
  void mend(int connection = kAll) { set({}, connection); }
  // Resets them: both ends learn it at once.
  void cut(int connection = kAll);
  // One end is reset; the other one is never told.
  void leave_half_open(Way gone, int connection = kAll);
  // Where those lead that come from now on.
  void set_target(const std::string& target);

  int connections() const;                 // that ever came
  std::uint64_t forwarded(Way way) const;  // bytes, over all connections

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace rayx::kit

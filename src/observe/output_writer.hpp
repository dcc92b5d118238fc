// OutputWriter: lines on their way to the driver's stdout or stderr. Never blocks the loop that feeds it, never raises SIGPIPE.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace rayx::observe {

// One thread at a time. The descriptor stays the caller's; it is often shared with the user's program, so it is not made
// non-blocking: poll() is asked first, and then at most PIPE_BUF bytes are written, which a pipe that is ready takes whole.
class OutputWriter {
 public:
  // When this much waits, stop reading the workers' pipes: they wait then, and no byte is dropped.
  static constexpr std::size_t kPendingBytesHigh = 4u << 20;

  explicit OutputWriter(int fd) : fd_(fd) {}

  void append(std::string_view bytes);
  // Writes what can be written without waiting. True if nothing is left; else call again when fd() is writable.
  bool flush();
  // Writes everything, waiting at most `timeout_ms` for the reader. For the end of a program.
  bool flush_within(int timeout_ms);

  int fd() const { return fd_; }
  std::size_t pending_bytes() const { return pending_.size() - done_; }
  bool is_congested() const { return pending_bytes() >= kPendingBytesHigh; }
  // The reader is gone (EPIPE) or the descriptor is bad: what follows is counted and dropped, as a shell pipeline would.
  bool broken() const { return broken_; }
  std::size_t dropped_bytes() const { return dropped_bytes_; }

 private:
  int fd_;
  bool broken_ = false;
  std::size_t done_ = 0;  // bytes of pending_ that are written
  std::size_t dropped_bytes_ = 0;
  std::string pending_;
};

// Colours only where a person looks: a terminal that can, and no NO_COLOR.
bool wants_colour(int fd);

}  // namespace rayx::observe

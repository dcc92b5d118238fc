// LinePrefixer: the bytes of one worker's pipe in, whole lines with a prefix out. One for each pipe.
//
// Every byte that comes in goes out exactly once and in order, between additions of ours: the prefix, a line end after a piece
// that had none, and a mark after a piece of a line that was too long. A lone carriage return (a progress bar) ends a piece too,
// else nothing would be seen until the worker ends.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "observe/output_writer.hpp"

namespace rayx::observe {

inline constexpr std::size_t kLineBytesMax = 8 * 1024;  // a longer line comes in pieces
inline constexpr std::size_t kKeptLinesMax = 20;        // for error texts
inline constexpr std::size_t kKeptLineBytesMax = 512;   // of each
inline constexpr std::string_view kContinuedMark = " [rayx: line continues]";

// The last lines, oldest first, without prefix and line end; long ones are cut, and say so. The two pipes of a process share one, so
// that its lines are told in the order in which they came.
using LastLines = std::deque<std::string>;

class LinePrefixer {
 public:
  // The prefix is "(name pid=123) ".
  LinePrefixer(std::string_view name, pid_t pid, bool colour,
               std::shared_ptr<LastLines> last_lines = std::make_shared<LastLines>());

  void feed(std::string_view bytes, OutputWriter& out);
  // Shows an unfinished line (a prompt, or dots); what follows it gets a prefix of its own. For a timer.
  void flush_partial(OutputWriter& out);
  // The worker is gone and its pipe is empty.
  void finish(OutputWriter& out) { flush_partial(out); }

  enum class Drained { kEmpty, kMore, kClosed };
  // Reads what a non-blocking descriptor has, at most `budget_bytes`.
  Drained drain(int fd, OutputWriter& out, std::size_t budget_bytes = 256 * 1024);
  // All that the pipe of a process that has ended holds, and what was kept back; also if `out` is congested: it is little.
  void drain_rest(int fd, OutputWriter& out);

  const LastLines& last_lines() const { return *kept_; }
  void rename(std::string_view name);  // e.g. when a worker becomes an actor; from the next line on
  bool has_partial() const { return !partial_.empty(); }

 private:
  void emit(std::string_view line, std::string_view mark, OutputWriter& out);

  const pid_t pid_;
  const bool colour_;
  std::string prefix_;
  std::string partial_;
  std::shared_ptr<LastLines> kept_;
};

// For an error text: each line indented by four blanks, or "" if there are none.
std::string indent_lines(const LastLines& lines);

}  // namespace rayx::observe

#include "observe/line_prefixer.hpp"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <utility>

#include "base/format.hpp"

namespace rayx::observe {

LinePrefixer::LinePrefixer(std::string_view name, pid_t pid, bool colour, std::shared_ptr<LastLines> last_lines)
    : pid_(pid), colour_(colour), kept_(std::move(last_lines)) {
  rename(name);
}

void LinePrefixer::rename(std::string_view name) {
  // Cyan, green, yellow, magenta, blue: neighbours in pid differ. Red is left for errors.
  constexpr std::array<int, 5> kColours = {36, 32, 33, 35, 34};
  prefix_ = base::format("({} pid={})", name, pid_);
  if (colour_) {
    const int colour = kColours[static_cast<std::size_t>(pid_) % kColours.size()];
    prefix_ = base::format("\x1b[{}m{}\x1b[0m", colour, prefix_);
  }
  prefix_ += ' ';
}

void LinePrefixer::feed(std::string_view bytes, OutputWriter& out) {
  while (!bytes.empty()) {
    if (!partial_.empty() && partial_.back() == '\r') {
      // Only now is it known whether this was the first half of "\r\n".
      if (bytes.front() == '\n') bytes.remove_prefix(1);
      emit(partial_, {}, out);
      partial_.clear();
      continue;
    }
    // '\r' counts as the end of a piece, and stays in it.
    const std::size_t room = kLineBytesMax - partial_.size();
    const std::size_t end = bytes.substr(0, room).find_first_of("\r\n");
    if (end == std::string_view::npos) {
      const std::size_t taken = std::min(room, bytes.size());
      partial_.append(bytes.substr(0, taken));
      bytes.remove_prefix(taken);
      // One more byte decides: a line of exactly the limit is not continued.
      if (partial_.size() == kLineBytesMax && !bytes.empty()) {
        const bool complete = bytes.front() == '\n';
        if (complete) bytes.remove_prefix(1);
        emit(partial_, complete ? std::string_view() : kContinuedMark, out);
        partial_.clear();
      }
      continue;
    }
    partial_.append(bytes.substr(0, end));
    if (bytes[end] == '\r') {
      partial_.push_back('\r');
    } else {
      emit(partial_, {}, out);
      partial_.clear();
    }
    bytes.remove_prefix(end + 1);
  }
}

void LinePrefixer::flush_partial(OutputWriter& out) {
  if (partial_.empty()) return;
  emit(partial_, {}, out);
  partial_.clear();
}

void LinePrefixer::emit(std::string_view line, std::string_view mark, OutputWriter& out) {
  out.append(prefix_);
  out.append(line);
  out.append(mark);
  out.append("\n");
  while (!line.empty() && line.back() == '\r') line.remove_suffix(1);
  kept_->emplace_back(line.substr(0, kKeptLineBytesMax));
  if (line.size() > kKeptLineBytesMax) kept_->back() += " [cut]";
  if (kept_->size() > kKeptLinesMax) kept_->pop_front();
}

LinePrefixer::Drained LinePrefixer::drain(int fd, OutputWriter& out, std::size_t budget_bytes) {
  char buffer[16 * 1024];
  while (budget_bytes > 0) {
    if (out.is_congested()) return Drained::kMore;
    const ssize_t bytes = ::read(fd, buffer, std::min(sizeof(buffer), budget_bytes));
    if (bytes == 0) return Drained::kClosed;
    if (bytes < 0) {
      if (errno == EINTR) continue;
      return errno == EAGAIN || errno == EWOULDBLOCK ? Drained::kEmpty : Drained::kClosed;
    }
    feed({buffer, static_cast<std::size_t>(bytes)}, out);
    budget_bytes -= static_cast<std::size_t>(bytes);
  }
  return Drained::kMore;
}

void LinePrefixer::drain_rest(int fd, OutputWriter& out) {
  char buffer[16 * 1024];
  // Whoever inherited the pipe from the dead could write for ever.
  constexpr std::size_t kPipeBytesMax = 1 << 20;
  for (std::size_t read_bytes = 0; read_bytes < kPipeBytesMax;) {
    const ssize_t bytes = ::read(fd, buffer, sizeof(buffer));
    if (bytes < 0 && errno == EINTR) continue;
    if (bytes <= 0) break;
    feed({buffer, static_cast<std::size_t>(bytes)}, out);
    read_bytes += static_cast<std::size_t>(bytes);
  }
  finish(out);
}

std::string indent_lines(const LastLines& lines) {
  std::string text;
  for (const std::string& line : lines) text += "    " + line + '\n';
  return text;
}

}  // namespace rayx::observe

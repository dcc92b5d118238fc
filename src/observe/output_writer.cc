#include "observe/output_writer.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <climits>
#include <csignal>
#include <cstdlib>
#include <ctime>

#include "base/deadline.hpp"

namespace rayx::observe {
namespace {

// write() to a pipe whose reader is gone raises SIGPIPE in this thread, and the signal's disposition belongs to the host.
class SigpipeGuard {
 public:
  SigpipeGuard() {
    sigset_t pending;
    sigpending(&pending);
    was_pending_ = sigismember(&pending, SIGPIPE) == 1;
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    ::pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~SigpipeGuard() {
    if (raised_ && !was_pending_) {
      const timespec now{};
      while (::sigtimedwait(&pipe_, nullptr, &now) < 0 && errno == EINTR) {
      }
    }
    ::pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  SigpipeGuard(const SigpipeGuard&) = delete;
  SigpipeGuard& operator=(const SigpipeGuard&) = delete;
  void note_raised() { raised_ = true; }

 private:
  sigset_t pipe_{}, before_{};
  bool was_pending_ = false;
  bool raised_ = false;
};

}  // namespace

void OutputWriter::append(std::string_view bytes) {
  if (broken_) {
    dropped_bytes_ += bytes.size();
    return;
  }
  pending_.append(bytes);
}

bool OutputWriter::flush() {
  if (pending_bytes() == 0) return true;
  SigpipeGuard guard;
  while (pending_bytes() > 0) {
    pollfd entry{fd_, POLLOUT, 0};
    if (::poll(&entry, 1, 0) <= 0) break;  // not ready, or a signal: the caller comes back
    const ssize_t written = ::write(fd_, pending_.data() + done_, std::min<std::size_t>(pending_bytes(), PIPE_BUF));
    if (written >= 0) {
      done_ += static_cast<std::size_t>(written);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
      break;
    } else {
      if (errno == EPIPE) guard.note_raised();
      broken_ = true;
      dropped_bytes_ += pending_bytes();
      done_ = pending_.size();
    }
  }
  if (done_ == pending_.size()) {
    pending_.clear();
    done_ = 0;
  } else if (done_ >= 64 * 1024) {
    pending_.erase(0, done_);
    done_ = 0;
  }
  return pending_.empty();
}

bool OutputWriter::flush_within(int timeout_ms) {
  const base::Deadline deadline{std::chrono::milliseconds(timeout_ms)};
  while (!flush()) {
    const int left_ms = deadline.left_ms();
    if (left_ms == 0) return false;
    pollfd entry{fd_, POLLOUT, 0};
    ::poll(&entry, 1, left_ms);
  }
  return true;
}

bool wants_colour(int fd) {
  const char* none = std::getenv("NO_COLOR");
  if (none != nullptr && none[0] != '\0') return false;
  const char* terminal = std::getenv("TERM");
  if (terminal == nullptr || std::string_view(terminal) == "dumb") return false;
  return ::isatty(fd) == 1;
}

}  // namespace rayx::observe

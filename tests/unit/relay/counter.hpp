// An actor for tests: it counts, says where it lives, and dies when it is told to.
#pragma once

#include <signal.h>
#include <unistd.h>

#include <stdexcept>
#include <string>

namespace rayx::relay::test {

class Counter {
 public:
  Counter() = default;
  explicit Counter(int start) : total_(start) {}
  int add(int x) { return total_ += x; }
  int pid() { return ::getpid(); }
  int place() { return ::getppid(); }  // the fork server of its site
  int die() {
    ::raise(SIGKILL);
    return 0;
  }
  int fail(int x) { throw std::out_of_range("there is no " + std::to_string(x)); }
  std::string twice(const std::string& text) { return text + text; }
  void wait() {
    for (;;) ::pause();
  }

 private:
  int total_ = 0;
};

}  // namespace rayx::relay::test

// A program that a test starts, with its output, its end, and everything that it leaves behind.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <optional>
#include <string>
#include <vector>

#include "kit/child_process.hpp"
#include "kit/eventually.hpp"

namespace rayx::kit {

// Not for several threads. The process that made it becomes the one that inherits orphans, so that none escapes.
class Program {
 public:
  struct Options {
    std::vector<std::string> arguments = {};
    std::vector<std::string> environment = {};       // "NAME=value", besides the test's own
    int network = -1;                                // of a TestHosts; -1: the test's own
    std::chrono::milliseconds patience = kPatience;  // of each function here that waits
  };

  // Starts it in a process group of its own, with an empty stdin.
  explicit Program(const std::string& path, const Options& options);
  ~Program();  // kills what is left of it
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return child_.pid(); }
  // Reads its output until `text` is in its stdout. False: it closed it, or the time is over.
  bool read_until(const std::string& text);
  // The same for its stderr.
  bool read_errors_until(const std::string& text);
  // Takes what there is at present, so that it does not wait for room.
  void read_what_is_there();
  // Ctrl-C is a signal to the group.
  void kill(int signal_number) { child_.kill(signal_number); }
  void kill_group(int signal_number);
  // Reads its output until it has ended and all of the output is there. Nothing: it still runs.
  std::optional<ExitStatus> wait();
  // What it printed as far as it was read.
  const std::string& out() const { return out_.text; }
  const std::string& err() const { return err_.text; }
  // Running processes that it has started, in whatever way and by however many steps, itself excluded. A process that no
  // longer has a parent is among them.
  std::vector<pid_t> descendants() const;
  // Those among them that have this name, which they may have given themselves.
  std::vector<pid_t> descendants(const std::string& name) const;
  // True as soon as nothing that it has started runs any more.
  bool is_alone() const;
  // After its end: true as soon as nothing that it started is left, not even a zombie that nobody waited for.
  bool everything_is_gone();

 private:
  struct Stream {
    int fd = -1;
    std::string text;
  };
  struct Pipes;

  Program(const std::string& path, const Options& options, const Pipes& pipes);
  template <class Done>
  bool read_while(Done done);
  bool has_started(pid_t process) const;
  // Of the test's other programs, or of what they started and left behind.
  bool belongs_to_another(pid_t pid) const;

  std::string mark_;
  std::chrono::milliseconds patience_;
  ChildProcess child_;
  Stream out_;
  Stream err_;
};

}  // namespace rayx::kit

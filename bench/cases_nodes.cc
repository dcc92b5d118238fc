// Another node: a process of its own on this machine, reached over loopback TCP as any other one would be.
#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <rayx/admin.hpp>
#include <string>

#include "cases.hpp"

namespace bench {
namespace {

// A node in a child of this process, from before this process has threads until the end of the case.
class OtherNode {
 public:
  OtherNode() {
    std::string folder = (std::filesystem::temp_directory_path() / "rayx-bench-XXXXXX").string();
    check(::mkdtemp(folder.data()) != nullptr, "no folder for the node");
    folder_ = folder;
    const std::string token_file = folder + "/token";
    int told[2];
    check(::pipe2(told, O_CLOEXEC) == 0, "pipe");
    pid_ = ::fork();
    check(pid_ >= 0, "fork");
    if (pid_ == 0) serve(token_file, told[1]);
    ::close(told[1]);
    char address[256];
    const ssize_t bytes = ::read(told[0], address, sizeof(address));
    check(bytes > 0, "the node did not start");
    ::close(told[0]);
    ::setenv("RAYX_ADDRESS", std::string(address, static_cast<std::size_t>(bytes)).c_str(), 1);
    ::setenv("RAYX_TOKEN_FILE", token_file.c_str(), 1);
  }
  OtherNode(const OtherNode&) = delete;
  OtherNode& operator=(const OtherNode&) = delete;
  ~OtherNode() {
    ::kill(pid_, SIGTERM);
    ::waitpid(pid_, nullptr, 0);
    std::filesystem::remove_all(folder_);
  }

 private:
  [[noreturn]] void serve(const std::string& token_file, int told) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    sigset_t signals;
    ::sigemptyset(&signals);
    ::sigaddset(&signals, SIGTERM);
    ::sigprocmask(SIG_BLOCK, &signals, nullptr);
    {
      rayx::NodeOptions options;
      options.token_file = token_file;
      options.cache_folder = folder_ + "/cache";
      const rayx::ClusterNode node(options);
      const std::string address = node.address();
      check(::write(told, address.data(), address.size()) == static_cast<ssize_t>(address.size()), "write");
      int signal = 0;
      ::sigwait(&signals, &signal);
    }
    ::_exit(0);
  }

  pid_t pid_ = -1;
  std::string folder_;
};

void remote_call() {
  const OtherNode node;
  const rayx::Runtime runtime = rayx::init();
  constexpr std::uint64_t kCalls = 2'000;
  const auto call_all = [&] {
    std::uint64_t sum = 0;
    const double seconds = seconds_of([&] {
      for (std::uint64_t i = 0; i < kCalls; ++i) sum += value_of(rayx::get(rayx::remote<next_number>(i)));
    });
    check_sum(sum, sum_to(kCalls), "wrong results");
    return seconds / kCalls * 1e6;
  };
  call_all();
  report("remote_call", "us", median_of(5, call_all));
}

void remote_async() {
  const OtherNode node;
  const rayx::Runtime runtime = rayx::init();
  constexpr std::uint64_t kTasks = 100'000;
  std::vector<rayx::ObjectRef<std::uint64_t>> refs;
  refs.reserve(kTasks);
  const auto run_all = [&] {
    refs.clear();
    std::uint64_t sum = 0;
    const double seconds = seconds_of([&] {
      for (std::uint64_t i = 0; i < kTasks; ++i) refs.push_back(rayx::remote<next_number>(i));
      for (const auto& ref : refs) sum += value_of(rayx::get(ref));
    });
    check_sum(sum, sum_to(kTasks), "wrong results");
    return kTasks / seconds;
  };
  run_all();
  report("remote_async", "1/s", median_of(5, run_all));
}

// What is there of it: its size, and that its ends are right. Reading every byte is another case.
std::uint64_t look_at(std::span<const double> values) {
  check(values.front() == 1.0 && values.back() == 2.0, "the object is damaged");
  return stamp(values.size());
}

// One object of a GiB to the other node, where a task finds it in its store; the first time into memory that was never touched.
void transfer() {
  const OtherNode node;
  const rayx::Runtime runtime = rayx::init();
  constexpr std::size_t kCount = (std::size_t{1} << 30) / sizeof(double);
  rayx::ArrayBuilder<double> builder(kCount);
  std::fill(builder.begin(), builder.end(), 0.5);
  builder[0] = 1.0;
  builder[kCount - 1] = 2.0;
  const auto object = rayx::put(std::move(builder));
  value_of(rayx::get(rayx::remote<next_number>(std::uint64_t{0})));
  const auto send = [&] {
    std::uint64_t size = 0;
    const double seconds = seconds_of([&] { size = value_of(rayx::get(rayx::remote<look_at>(object))); });
    check(size == kCount, "wrong size");
    return 1 / seconds;
  };
  report("transfer_1GiB_cold", "GiB/s", send());
  report("transfer_1GiB", "GiB/s", median_of(3, send));
}

constexpr Case kCases[] = {
    {"remote_call", remote_call},
    {"remote_async", remote_async},
    {"transfer_1GiB", transfer},
};

}  // namespace

std::span<const Case> node_cases() { return kCases; }

}  // namespace bench

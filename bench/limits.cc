// What this machine allows, in this run: the limits that bench/run sets beside the cases. No rayx in here.
//
//   limits NAME…     prints one JSON line for each: {"case": "limit_ping_pong", "unit": "us", "value": 0.15}
//
// Each figure is the median of several repeats inside this process; bench/run starts the process several times.
#include <linux/futex.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <functional>
#include <iterator>
#include <string_view>
#include <vector>

#include "memory_limits.hpp"
#include "sockets.hpp"

extern char** environ;

namespace {

using bench::check;
using bench::kBulkBytes;
using bench::kGiB;
using bench::map_memory;
using bench::median_of;
using bench::receive_all;
using bench::seconds_of;
using bench::send_all;

// A child that runs `body` and is waited for. It never returns into the caller's code.
class Child {
 public:
  explicit Child(const std::function<void()>& body) : pid_(::fork()) {
    check(pid_ >= 0, "fork");
    if (pid_ != 0) return;
    body();
    ::_exit(0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;
  ~Child() {
    int status = 0;
    check(::waitpid(pid_, &status, 0) == pid_ && status == 0, "a child of the measurement failed");
  }

 private:
  pid_t pid_;
};

struct PingPong {
  alignas(64) std::atomic<std::uint32_t> ping;
  alignas(64) std::atomic<std::uint32_t> pong;
};

void futex_wait(std::atomic<std::uint32_t>& word, std::uint32_t seen) {
  ::syscall(SYS_futex, &word, FUTEX_WAIT, seen, nullptr, nullptr, 0);
}
void futex_wake(std::atomic<std::uint32_t>& word) { ::syscall(SYS_futex, &word, FUTEX_WAKE, 1, nullptr, nullptr, 0); }

// Two processes answer each other `trips` times; both spin, or both sleep in the kernel.
double round_trip_us(bool sleeping, std::uint32_t trips) {
  auto* line = new (map_memory(4096, MAP_SHARED)) PingPong{};
  const std::uint32_t total = trips * 6;  // one warm-up and five repeats
  const auto await = [sleeping](std::atomic<std::uint32_t>& word, std::uint32_t wanted) {
    for (std::uint32_t seen; (seen = word.load(std::memory_order_acquire)) != wanted;) {
      if (sleeping) {
        futex_wait(word, seen);
      } else {
        _mm_pause();
      }
    }
  };
  const auto set = [sleeping](std::atomic<std::uint32_t>& word, std::uint32_t value) {
    word.store(value, std::memory_order_release);
    if (sleeping) futex_wake(word);
  };
  Child peer([&] {
    for (std::uint32_t i = 1; i <= total; ++i) {
      await(line->ping, i);
      set(line->pong, i);
    }
  });
  std::uint32_t next = 0;
  const auto burst = [&] {
    for (std::uint32_t i = 0; i < trips; ++i) {
      set(line->ping, ++next);
      await(line->pong, next);
    }
  };
  burst();
  return median_of(5, [&] { return seconds_of(burst) / trips * 1e6; });
}

// Fork, first answer over shared memory, reap: one process after the other.
double fork_ms() {
  auto* answer = new (map_memory(4096, MAP_SHARED)) std::atomic<std::uint32_t>(0);
  constexpr std::uint32_t kChildren = 100;
  const double seconds = seconds_of([&] {
    for (std::uint32_t i = 1; i <= kChildren; ++i) {
      Child child([&] {
        answer->store(i, std::memory_order_release);
        futex_wake(*answer);
      });
      for (std::uint32_t seen; (seen = answer->load(std::memory_order_acquire)) != i;) futex_wait(*answer, seen);
    }
  });
  return seconds / kChildren * 1e3;
}

double exec_ms() {
  return median_of(21, [] {
    return 1e3 * seconds_of([] {
             pid_t pid = 0;
             char path[] = "/bin/true";
             char* arguments[] = {path, nullptr};
             check(::posix_spawn(&pid, path, nullptr, nullptr, arguments, environ) == 0, "posix_spawn of /bin/true");
             int status = 0;
             check(::waitpid(pid, &status, 0) == pid && status == 0, "/bin/true failed");
           });
  });
}

// A connected pair over 127.0.0.1: [0] ours, [1] the peer's.
struct TcpPair {
  int ends[2];
  TcpPair() {
    const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    check(::bind(listener, reinterpret_cast<sockaddr*>(&address), length) == 0, "bind");
    check(::listen(listener, 1) == 0, "listen");
    check(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &length) == 0, "getsockname");
    ends[0] = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    check(::connect(ends[0], reinterpret_cast<sockaddr*>(&address), length) == 0, "connect");
    ends[1] = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    check(ends[1] >= 0, "accept");
    ::close(listener);
    for (const int end : ends) {
      const int one = 1;
      ::setsockopt(end, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
  }
  ~TcpPair() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
};

double tcp_round_trip_us() {
  constexpr int kTrips = 2'000;
  TcpPair pair;
  std::byte cell[64] = {};
  Child peer([&] {
    for (int i = 0; i < 6 * kTrips; ++i) {
      check(receive_all(pair.ends[1], cell, sizeof cell), "recv");
      send_all(pair.ends[1], cell, sizeof cell);
    }
  });
  const auto burst = [&] {
    for (int i = 0; i < kTrips; ++i) {
      send_all(pair.ends[0], cell, sizeof cell);
      check(receive_all(pair.ends[0], cell, sizeof cell), "recv");
    }
  };
  burst();
  return median_of(5, [&] { return seconds_of(burst) / kTrips * 1e6; });
}

double tcp_gib_s() {
  constexpr std::size_t kChunk = std::size_t{1} << 20;
  constexpr int kRepeats = 5;
  TcpPair pair;
  std::vector<std::byte> chunk(kChunk, std::byte{1});
  Child peer([&] {
    for (int repeat = 0; repeat < kRepeats; ++repeat) {
      for (std::size_t sent = 0; sent < kBulkBytes; sent += kChunk)
        check(receive_all(pair.ends[1], chunk.data(), kChunk), "recv");
      send_all(pair.ends[1], chunk.data(), 1);
    }
  });
  std::byte answer[1];
  return median_of(kRepeats, [&] {
    return kBulkBytes / kGiB / seconds_of([&] {
             for (std::size_t sent = 0; sent < kBulkBytes; sent += kChunk) send_all(pair.ends[0], chunk.data(), kChunk);
             check(receive_all(pair.ends[0], answer, 1), "recv");
           });
  });
}

// The least that a put and a get of a small value can be: a record of 64 bytes from a free list, its value, a release store of
// its state; an acquire load and the value. Private memory, one thread, nothing counted.
struct alignas(64) Cell {
  std::atomic<std::uint32_t> state{0};
  std::uint32_t next = 0;
  std::uint64_t value = 0;
};
constexpr std::uint32_t kCells = 1000;

double record_ns(bool putting) {
  std::vector<Cell> cells(kCells);
  std::uint32_t free_list = 0;
  for (std::uint32_t i = 0; i < kCells; ++i) cells[i].next = i + 1;
  std::vector<std::uint32_t> taken(kCells);
  const auto put_all = [&] {
    for (std::uint32_t i = 0; i < kCells; ++i) {
      Cell& cell = cells[taken[i] = free_list];
      free_list = cell.next;
      cell.value = i;
      cell.state.store(2, std::memory_order_release);
    }
  };
  const auto free_all = [&] {
    for (const std::uint32_t index : taken) {
      cells[index].state.store(0, std::memory_order_relaxed);
      cells[index].next = free_list;
      free_list = index;
    }
  };
  put_all();
  return median_of(15, [&] {
    constexpr int kRounds = 200;
    std::uint64_t sum = 0;
    const double seconds = seconds_of([&] {
      for (int round = 0; round < kRounds; ++round) {
        if (putting) {
          free_all();
          put_all();
        } else {
          for (const std::uint32_t index : taken) {
            if (cells[index].state.load(std::memory_order_acquire) == 2) sum += cells[index].value;
          }
        }
        bench::keep(cells.data());
      }
    });
    check(putting || sum == std::uint64_t{kRounds} * kCells * (kCells - 1) / 2, "the records are wrong");
    return seconds / (kRounds * kCells) * 1e9;
  });
}

struct Limit {
  std::string_view name;
  std::string_view unit;
  double (*measure)();
};
constexpr Limit kLimits[] = {
    {"limit_ping_pong", "us", [] { return round_trip_us(false, 100'000); }},
    {"limit_ping_pong_rate", "1/s", [] { return 1e6 / round_trip_us(false, 100'000); }},
    {"limit_record_put", "ns", [] { return record_ns(true); }},
    {"limit_record_get", "ns", [] { return record_ns(false); }},
    {"limit_futex", "us", [] { return round_trip_us(true, 2'000); }},
    {"limit_memcpy", "GiB/s", [] { return bench::copy_gib_s(false); }},
    {"limit_non_temporal", "GiB/s", [] { return bench::copy_gib_s(true); }},
    {"limit_read", "GiB/s", bench::read_gib_s},
    {"limit_fork", "ms", fork_ms},
    {"limit_exec", "ms", exec_ms},
    {"limit_tcp", "us", tcp_round_trip_us},
    {"limit_tcp_bulk", "GiB/s", tcp_gib_s},
};

}  // namespace

int main(int argc, char** argv) {
  for (const Limit& limit : kLimits) {
    const bool wanted = argc == 1 || std::any_of(argv + 1, argv + argc, [&](char* name) { return limit.name == name; });
    if (wanted) bench::report(limit.name, limit.unit, limit.measure());
  }
  for (int i = 1; i < argc; ++i) {
    check(
        std::any_of(std::begin(kLimits), std::end(kLimits), [&](const Limit& limit) { return limit.name == argv[i]; }),
        "there is no such limit", argv[i]);
  }
  return 0;
}

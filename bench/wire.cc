// wire NAME…: what a link costs beside the bare socket under it, between two processes over loopback. Each case measures its limit,
// the same work with blocking calls on a TCP socket, in turn with itself. Prints one JSON line for each, as cases.cc does.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <functional>
#include <future>
#include <memory>
#include <span>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "kit.hpp"
#include "sockets.hpp"
#include "wire/limits.hpp"
#include "wire/link.hpp"
#include "wire/listener.hpp"
#include "wire/loop.hpp"

namespace bench {
namespace {

namespace wire = rayx::wire;

constexpr std::size_t kGiB = std::size_t{1} << 30;
constexpr std::size_t kRegionBytes =
    kGiB / 4;  // both ends go through it again and again: larger than any cache, and warm
constexpr std::size_t kChunkBytes = wire::kPayloadBytesMax;
constexpr int kTrips = 3'000;
constexpr std::uint64_t kFrames = 2'000'000;
constexpr int kRounds = 5;

std::span<std::byte> make_region() {
  void* const memory =
      ::mmap(nullptr, kRegionBytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  check(memory != MAP_FAILED, "mmap");
  return {static_cast<std::byte*>(memory), kRegionBytes};
}
std::uint64_t sum_of_words(std::span<const std::byte> bytes) {
  std::uint64_t sum = 0;
  for (std::size_t i = 0; i < bytes.size(); i += 8) {
    std::uint64_t word;
    std::memcpy(&word, bytes.data() + i, 8);
    sum += word;
  }
  return sum;
}

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
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }

 private:
  pid_t pid_;
};

enum class Work : char { kEcho, kCount, kBulk };

// The limit: the same work with blocking calls.
class RawPeer {
 public:
  RawPeer(Work work, std::span<const std::byte> from, std::span<std::byte> to)
      : from_(from), to_(to), listener_(bind_and_listen()), child_([&] { serve(work); }) {
    ours_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int one = 1;
    ::setsockopt(ours_, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    check(::connect(ours_, reinterpret_cast<const sockaddr*>(&address_), sizeof address_) == 0, "connect");
  }
  ~RawPeer() { ::close(ours_); }

  double round_trip_us() {
    std::byte cell[64] = {};
    return seconds_of([&] {
             for (int i = 0; i < kTrips; ++i) {
               send_all(ours_, cell, sizeof cell);
               check(receive_all(ours_, cell, sizeof cell), "recv");
             }
           }) /
           kTrips * 1e6;
  }
  double gib_s() {
    std::byte answer[1];
    return 1 / seconds_of([&] {
             for (std::size_t sent = 0; sent < kGiB; sent += kChunkBytes) {
               send_all(ours_, from_.data() + sent % kRegionBytes, kChunkBytes);
             }
             check(receive_all(ours_, answer, 1), "recv");
           });
  }

 private:
  int bind_and_listen() {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address_.sin_family = AF_INET;
    address_.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address_;
    check(::bind(fd, reinterpret_cast<sockaddr*>(&address_), length) == 0 && ::listen(fd, 1) == 0, "listen");
    check(::getsockname(fd, reinterpret_cast<sockaddr*>(&address_), &length) == 0, "getsockname");
    return fd;
  }
  void serve(Work work) {
    const int fd = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
    const int one = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    std::byte cell[64];
    if (work == Work::kEcho) {
      while (receive_all(fd, cell, sizeof cell)) send_all(fd, cell, sizeof cell);
    }
    for (std::size_t got = 0; work == Work::kBulk; got += kChunkBytes) {
      if (got > 0 && got % kGiB == 0) send_all(fd, cell, 1);
      if (!receive_all(fd, to_.data() + got % kRegionBytes, kChunkBytes)) return;
    }
  }

  std::span<const std::byte> from_;
  std::span<std::byte> to_;
  sockaddr_in address_{};
  int listener_;
  Child child_;
  int ours_ = -1;
};

// The process at the other end of the link: answers, counts, or takes what comes into its region.
struct Server final : wire::LinkHandler {
  void on_control(std::span<const std::byte> bytes) override {
    if (work == Work::kEcho) return void(link->send(bytes));
    std::uint64_t value = 0;
    std::memcpy(&value, bytes.data(), sizeof value);
    if (work == Work::kBulk) return answer(sum_of_words(region));
    sum += value;
    if (++count % kFrames == 0) answer(sum);
  }
  std::span<std::byte> on_payload(const wire::PayloadChunk& chunk) override {
    return region.subspan(chunk.offset % kRegionBytes, chunk.bytes);
  }
  void on_payload_end(const wire::PayloadChunk& chunk) override {
    if ((chunk.offset + chunk.bytes) % kGiB == 0) answer(0);
  }
  void on_closed(const wire::CloseReason&) override { ::_exit(0); }
  void answer(std::uint64_t value) { link->send(std::as_bytes(std::span(&value, 1))); }

  Work work{};
  std::span<std::byte> region;
  wire::Link* link = nullptr;
  std::uint64_t sum = 0;
  std::uint64_t count = 0;
};

void serve(const wire::LinkConfig& config, Work work, std::span<std::byte> region, int port_pipe) {
  const rayx::base::SteadyClock clock;
  auto loop = *wire::Loop::create(clock);
  Server server;
  server.work = work;
  server.region = region;
  std::unique_ptr<wire::Link> link;
  auto listener = *wire::Listener::create(
      *loop, {}, config,
      [&](std::unique_ptr<wire::Link> taken) {
        link = std::move(taken);
        server.link = link.get();
        link->open(server);
      },
      [](const wire::RefusedReport& report) { check(false, "refused", report.message); });
  const std::uint16_t port = listener->endpoint().port;
  check(::write(port_pipe, &port, sizeof port) == sizeof port, "write");
  loop->run(wire::kLoopPatience);
}

// Our end: one thread runs the loop and the work, the main thread waits.
struct Client final : wire::LinkHandler {
  Client(const wire::LinkConfig& config, std::uint16_t port) {
    std::promise<void> connected;
    thread = std::jthread([this] { loop->run(wire::kLoopPatience); });
    call([&] {
      connector = std::make_unique<wire::Connector>(*loop, wire::Endpoint{"127.0.0.1", port}, config, [&](auto made) {
        check(made.has_value(), "connect", made ? "" : made.error().message);
        link = std::move(*made);
        link->open(*this);
        connected.set_value();
      });
    });
    connected.get_future().wait();
  }
  ~Client() override {
    call([this] {
      connector.reset();
      link.reset();
    });
    loop->stop();
  }
  void call(const std::function<void()>& work) {
    std::promise<void> done;
    loop->post([&] {
      work();
      done.set_value();
    });
    done.get_future().wait();
  }
  // Starts the work on the loop and waits until it says that it is over.
  void run(std::function<void()> begin) {
    over = {};
    loop->post(std::move(begin));
    over.get_future().wait();
  }

  double round_trip_us() {
    trips_left = kTrips;
    std::byte cell[64] = {};
    return seconds_of([&] { run([&] { link->send(cell); }); }) / kTrips * 1e6;
  }
  double frames_per_s() {
    return kFrames / seconds_of([&] {
             run([this] {
               next_frame = 0;
               send_frames();
             });
           });
  }
  double gib_s(std::span<const std::byte> from) {
    region = from;
    return 1 / seconds_of([&] {
             run([this] {
               next_byte = 0;
               send_chunks();
             });
           });
  }
  std::uint64_t remote_sum() {
    run([this] { link->send(std::as_bytes(std::span(&next_byte, 1))); });
    return answer;
  }

  void on_control(std::span<const std::byte> bytes) override {
    if (trips_left > 1) {
      --trips_left;
      return void(link->send(bytes));
    }
    std::memcpy(&answer, bytes.data(), sizeof answer);
    over.set_value();
  }
  std::span<std::byte> on_payload(const wire::PayloadChunk&) override { return {}; }
  void on_payload_end(const wire::PayloadChunk&) override {}
  void on_writable() override {
    send_frames();
    send_chunks();
  }
  void on_closed(const wire::CloseReason& reason) override { check(false, "closed", reason.message); }
  void send_frames() {
    while (next_frame < kFrames) {
      const std::uint64_t value = next_frame++;
      if (link->send(std::as_bytes(std::span(&value, 1))) == wire::Sent::kPause) return;
    }
  }
  void send_chunks() {
    while (next_byte < kGiB) {
      const auto chunk = region.subspan(next_byte % kRegionBytes, kChunkBytes);
      const wire::Sent sent = link->send_payload(1, next_byte, chunk, {});
      if (sent == wire::Sent::kRefused) return;
      next_byte += kChunkBytes;
      if (sent == wire::Sent::kPause) return;
    }
  }

  rayx::base::SteadyClock clock;
  std::unique_ptr<wire::Loop> loop = *wire::Loop::create(clock);
  std::unique_ptr<wire::Connector> connector;
  std::unique_ptr<wire::Link> link;
  std::promise<void> over;
  int trips_left = 0;
  std::uint64_t next_frame = kFrames;
  std::uint64_t next_byte = kGiB;
  std::uint64_t answer = 0;
  std::span<const std::byte> region;
  std::jthread thread;
};

void measure(const char* name, Work work, wire::TlsPolicy tls) {
  const std::span<std::byte> from = make_region();
  const std::span<std::byte> to = make_region();
  for (std::size_t i = 0; i < from.size(); i += 8) {
    const std::uint64_t word = i * 0x9e3779b97f4a7c15;
    std::memcpy(from.data() + i, &word, 8);
  }
  const wire::LinkConfig config{wire::Token::make_random(), tls, {}, {}};
  int pipe[2];
  check(::pipe(pipe) == 0, "pipe");
  Child server([&] { serve(config, work, to, pipe[1]); });
  RawPeer raw(work, from, to);
  std::uint16_t port = 0;
  check(::read(pipe[0], &port, sizeof port) == sizeof port, "read");
  Client client(config, port);
  std::vector<double> ours;
  std::vector<double> limit;
  for (int round = 0; round <= kRounds; ++round) {
    double mine = 0;
    double bare = 0;
    switch (work) {
      case Work::kEcho:
        bare = raw.round_trip_us();
        mine = client.round_trip_us();
        break;
      case Work::kCount:
        mine = client.frames_per_s();
        check(client.answer == (round + 1) * (kFrames * (kFrames - 1) / 2), "frames were lost");
        break;
      case Work::kBulk:
        bare = raw.gib_s();
        std::memset(to.data(), 0, to.size());
        mine = client.gib_s(from);
        check(client.remote_sum() == sum_of_words(from), "bytes were lost");
        break;
    }
    if (round == 0) continue;  // both warm
    ours.push_back(mine);
    limit.push_back(bare);
  }
  report(name, work == Work::kEcho ? "us" : work == Work::kCount ? "1/s" : "GiB/s", median(ours), median(limit));
}

}  // namespace
}  // namespace bench

int main(int argc, char** argv) {
  using bench::Work;
  using rayx::wire::TlsPolicy;
  bench::check(argc > 1, "usage: wire NAME…");
  for (int i = 1; i < argc; ++i) {
    const std::string_view name = argv[i];
    if (name == "wire_round_trip") {
      bench::measure(argv[i], Work::kEcho, TlsPolicy::kOff);
    } else if (name == "wire_round_trip_tls") {
      bench::measure(argv[i], Work::kEcho, TlsPolicy::kOn);
    } else if (name == "wire_small_frames") {
      bench::measure(argv[i], Work::kCount, TlsPolicy::kOff);
    } else if (name == "wire_bulk") {
      bench::measure(argv[i], Work::kBulk, TlsPolicy::kOff);
    } else if (name == "wire_bulk_tls") {
      bench::measure(argv[i], Work::kBulk, TlsPolicy::kOn);
    } else {
      bench::check(false, "there is no such case", argv[i]);
    }
  }
  return 0;
}

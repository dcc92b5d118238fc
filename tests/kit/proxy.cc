#include "kit/proxy.hpp"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <deque>
#include <functional>
#include <future>
#include <list>
#include <mutex>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "base/clock.hpp"
#include "base/unique_fd.hpp"
#include "kit/network_address.hpp"
#include "kit/network_namespace.hpp"
#include "kit/seed.hpp"

namespace rayx::kit {
namespace {

constexpr std::size_t kReadBytes = 64 * 1024;  // of one piece, unless the weather wants smaller ones
// Of one way of a connection; then the sender's kernel has to wait. Also what the kernel may hold for us: it would take megabytes,
// and a slow link would be one that answers after many seconds.
constexpr std::size_t kWaitingBytesMax = 256 * 1024;
constexpr int kSocketBytes = 64 * 1024;
constexpr std::uint64_t kQueuesPerSecond = 10;  // a link of limited rate holds what it carries in a tenth of a second
constexpr int kBacklog = 1024;
constexpr int kClient = 0;
constexpr int kTarget = 1;

void hold_little(int socket) {
  ::setsockopt(socket, SOL_SOCKET, SO_RCVBUF, &kSocketBytes, sizeof(kSocketBytes));
  ::setsockopt(socket, SOL_SOCKET, SO_SNDBUF, &kSocketBytes, sizeof(kSocketBytes));
}
void send_at_once(int socket) {
  const int yes = 1;
  ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

void reset(base::UniqueFd& socket) {
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  if (socket) ::setsockopt(socket.get(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  socket.reset();
}

base::TimeNs in_ns(std::chrono::nanoseconds time) { return time.count(); }

struct Piece {
  std::vector<char> bytes;  // none: the end of the stream
  std::size_t sent = 0;
  base::TimeNs due_ns = 0;
};

// One way of a connection.
struct Flow {
  std::deque<Piece> waiting;
  std::size_t waiting_bytes = 0;
  std::uint64_t taken = 0;  // position in the stream
  base::TimeNs last_due_ns = 0;
  bool has_ended = false;   // the end of the stream was read
  bool is_over = false;     // and handed on
  bool is_blocked = false;  // the receiver's kernel takes nothing now
  bool is_faulty = false;   // nothing more is read
  bool is_doomed = false;   // and as soon as nothing waits the connection is reset, whatever its weather is then
  std::mt19937_64 random;
};

struct Connection {
  int number = 0;
  base::UniqueFd ends[2];
  Flow flows[2];  // by Way: 0 from the client to the target
  Proxy::Weather weather;
  bool is_half_open = false;
  bool has_had_its_fault = false;

  std::size_t waiting_max() const {
    if (weather.bytes_per_s == 0) return kWaitingBytesMax;
    return std::clamp<std::size_t>(weather.bytes_per_s / kQueuesPerSecond, 1, kWaitingBytesMax);
  }
  bool is_silent() const { return weather.is_silent || is_half_open; }
  void reset_both() {
    for (base::UniqueFd& end : ends) reset(end);
  }
};

}  // namespace

struct Proxy::State {
  State(const std::string& to, const Options& options);
  ~State();

  void run(const std::function<void()>& ready);
  void turn();
  void take_new_one();
  void pump(Connection& connection, std::uint32_t readable);
  bool read_piece(Connection& connection, int way);
  void hand_on(Connection& connection, int way);
  short wanted(const Connection& connection, int end) const;
  base::TimeNs next_due_ns() const;
  void wake() const {
    const std::uint64_t one = 1;
    RAYX_CHECK(::write(wake_fd.get(), &one, sizeof(one)) == sizeof(one), "eventfd:", std::strerror(errno));
  }
  template <class Change>
  void change(int number, Change apply) {
    {
      const std::lock_guard lock(mutex);
      for (Connection& connection : connections)
        if (number == kAll || connection.number == number) apply(connection);
    }
    wake();
  }

  const base::SteadyClock clock;
  const Options how;
  const int ordinal;  // of the proxies of this process: they draw other numbers
  base::UniqueFd wake_fd;
  base::UniqueFd listener;
  std::string address;
  mutable std::mutex mutex;  // guards all that follows; the thread holds it while it works, not while it waits
  sockaddr_in target;
  Weather weather_to_come;
  std::list<Connection> connections;
  int accepted = 0;
  std::uint64_t forwarded[2] = {0, 0};
  bool is_ending = false;
  std::thread thread;
};

Proxy::State::State(const std::string& to, const Options& options)
    : how(options),
      ordinal([] {
        static std::atomic<int> count{0};
        return count++;
      }()),
      wake_fd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      target(to_sockaddr(to)) {
  std::promise<void> listens;
  thread = std::thread([this, &listens] { run([&listens] { listens.set_value(); }); });
  listens.get_future().get();
}

Proxy::State::~State() {
  {
    const std::lock_guard lock(mutex);
    is_ending = true;
  }
  wake();
  thread.join();
  for (Connection& connection : connections) connection.reset_both();
}

void Proxy::State::run(const std::function<void()>& ready) {
  if (how.network >= 0) NetworkNamespace::enter(how.network);
  listener = listen_on(how.listen, kBacklog, address);
  hold_little(listener.get());  // and so do those that it accepts
  ready();
  for (;;) {
    turn();
    const std::lock_guard lock(mutex);
    if (is_ending) return;
  }
}

// Waits for what is wanted, and does it.
void Proxy::State::turn() {
  std::vector<pollfd> polled = {{wake_fd.get(), POLLIN, 0}, {listener.get(), POLLIN, 0}};
  timespec patience{};
  bool waits_for_time = false;
  {
    const std::lock_guard lock(mutex);
    for (const Connection& connection : connections) {
      for (const int end : {kClient, kTarget}) {
        const short events = wanted(connection, end);
        polled.push_back({events == 0 ? -1 : connection.ends[end].get(), events, 0});
      }
    }
    const base::TimeNs due_ns = next_due_ns();
    waits_for_time = due_ns != base::kNever;
    const base::TimeNs left_ns = waits_for_time ? std::max<base::TimeNs>(due_ns - clock.now_ns(), 0) : 0;
    patience = {.tv_sec = left_ns / 1'000'000'000, .tv_nsec = left_ns % 1'000'000'000};
  }
  ::ppoll(polled.data(), polled.size(), waits_for_time ? &patience : nullptr, nullptr);
  std::uint64_t ignored = 0;
  (void)!::read(wake_fd.get(), &ignored, sizeof(ignored));

  const std::lock_guard lock(mutex);
  std::size_t at = 2;
  // Only this thread adds and removes connections, so they are those that were polled.
  for (Connection& connection : connections) {
    std::uint32_t readable = 0;
    for (const int end : {kClient, kTarget}) {
      const short events = polled[at++].revents;
      if ((events & (POLLIN | POLLHUP | POLLERR)) != 0) readable |= 1u << end;
      if ((events & (POLLOUT | POLLHUP | POLLERR)) != 0) connection.flows[1 - end].is_blocked = false;
    }
    pump(connection, readable);
  }
  connections.remove_if(
      [](const Connection& connection) { return !connection.ends[kClient] && !connection.ends[kTarget]; });
  if ((polled[1].revents & POLLIN) != 0) take_new_one();
}

// What flows from this end is read unless much waits; what flows to it is written when it is due and the kernel took no more.
short Proxy::State::wanted(const Connection& connection, int end) const {
  if (!connection.ends[end] || connection.is_silent()) return 0;
  const Flow& from = connection.flows[end];
  const Flow& to = connection.flows[1 - end];
  short events = 0;
  if (!from.has_ended && !from.is_faulty && from.waiting_bytes < connection.waiting_max()) events |= POLLIN;
  if (to.is_blocked) events |= POLLOUT;
  return events;
}

base::TimeNs Proxy::State::next_due_ns() const {
  base::TimeNs next = base::kNever;
  for (const Connection& connection : connections) {
    if (connection.is_silent()) continue;
    for (const Flow& flow : connection.flows) {
      if (!flow.waiting.empty() && !flow.is_blocked) next = std::min(next, flow.waiting.front().due_ns);
    }
  }
  return next;
}

// Somebody waits at the listener.
void Proxy::State::take_new_one() {
  base::UniqueFd taken(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!taken) return;
  send_at_once(taken.get());
  Connection& connection = connections.emplace_back();
  connection.number = accepted++;
  connection.ends[kClient] = std::move(taken);
  connection.weather = weather_to_come;
  for (const std::uint32_t way : {0u, 1u}) {
    const std::uint64_t own = seed();
    std::seed_seq seeds{static_cast<std::uint32_t>(own), static_cast<std::uint32_t>(own >> 32),
                        static_cast<std::uint32_t>(ordinal), static_cast<std::uint32_t>(connection.number), way};
    connection.flows[way].random.seed(seeds);
  }
  pump(connection, 0);
}

void Proxy::State::pump(Connection& connection, std::uint32_t readable) {
  if (connection.is_silent() || !connection.ends[kClient]) return;
  if (!connection.ends[kTarget]) {
    connection.ends[kTarget] = base::UniqueFd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    hold_little(connection.ends[kTarget].get());
    send_at_once(connection.ends[kTarget].get());
    // Until it is answered nothing can be read or written; a refusal shows then.
    const int refused =
        ::connect(connection.ends[kTarget].get(), reinterpret_cast<const sockaddr*>(&target), sizeof(target));
    if (refused != 0 && errno != EINPROGRESS) return connection.reset_both();
  }
  for (const int way : {0, 1}) {
    if ((readable & (1u << way)) != 0 && !read_piece(connection, way)) return connection.reset_both();
  }
  for (const int way : {0, 1}) {
    if (connection.ends[kClient]) hand_on(connection, way);
  }
  if (connection.flows[0].is_over && connection.flows[1].is_over) {
    connection.ends[kClient].reset();
    connection.ends[kTarget].reset();
  }
}

// False: the connection is broken.
bool Proxy::State::read_piece(Connection& connection, int way) {
  Flow& flow = connection.flows[way];
  const Weather& weather = connection.weather;
  if (flow.has_ended || flow.is_faulty || flow.waiting_bytes >= connection.waiting_max()) return true;
  std::size_t wish = kReadBytes;
  if (weather.piece_bytes_max > 0)
    wish = std::uniform_int_distribution<std::size_t>(1, weather.piece_bytes_max)(flow.random);
  const bool may_fail = weather.fault && static_cast<int>(weather.fault->way) == way && !connection.has_had_its_fault &&
                        weather.fault->at_byte >= flow.taken;
  const std::uint64_t to_fault = may_fail ? weather.fault->at_byte - flow.taken : UINT64_MAX;
  if (may_fail && weather.fault->kind != Fault::Kind::kFlip)
    wish = static_cast<std::size_t>(std::min<std::uint64_t>(wish, to_fault));

  Piece piece;
  if (wish > 0) {
    piece.bytes.resize(wish);
    const ssize_t read = ::recv(connection.ends[way].get(), piece.bytes.data(), wish, 0);
    if (read < 0) return errno == EAGAIN || errno == EINTR;
    piece.bytes.resize(static_cast<std::size_t>(read));
    flow.has_ended = read == 0;
  }
  if (may_fail && to_fault <= piece.bytes.size() && !flow.has_ended) {
    if (weather.fault->kind != Fault::Kind::kFlip) {
      connection.has_had_its_fault = flow.is_faulty = true;
      flow.is_doomed = weather.fault->kind == Fault::Kind::kReset;
    } else if (to_fault < piece.bytes.size()) {
      piece.bytes[to_fault] = static_cast<char>(piece.bytes[to_fault] ^ (1 << (flow.random() % 8)));
      connection.has_had_its_fault = true;
    }
  }
  if (piece.bytes.empty() && !flow.has_ended) return true;
  base::TimeNs due_ns = clock.now_ns() + in_ns(weather.delay);
  if (weather.jitter.count() > 0)
    due_ns += std::uniform_int_distribution<base::TimeNs>(0, in_ns(weather.jitter))(flow.random);
  due_ns = std::max(due_ns, flow.last_due_ns);
  if (weather.bytes_per_s > 0)
    due_ns += static_cast<base::TimeNs>(piece.bytes.size() * 1'000'000'000 / weather.bytes_per_s);
  piece.due_ns = flow.last_due_ns = due_ns;
  flow.taken += piece.bytes.size();
  flow.waiting_bytes += piece.bytes.size();
  flow.waiting.push_back(std::move(piece));
  return true;
}

void Proxy::State::hand_on(Connection& connection, int way) {
  Flow& flow = connection.flows[way];
  const int to = connection.ends[1 - way].get();
  while (!flow.waiting.empty() && !flow.is_blocked && flow.waiting.front().due_ns <= clock.now_ns()) {
    Piece& piece = flow.waiting.front();
    if (piece.bytes.empty()) {
      ::shutdown(to, SHUT_WR);
      flow.is_over = true;
      flow.waiting.clear();
      return;
    }
    const ssize_t sent = ::send(to, piece.bytes.data() + piece.sent, piece.bytes.size() - piece.sent, MSG_NOSIGNAL);
    if (sent < 0) {
      flow.is_blocked = errno == EAGAIN || errno == EINTR;
      if (!flow.is_blocked) connection.reset_both();
      return;
    }
    piece.sent += static_cast<std::size_t>(sent);
    flow.waiting_bytes -= static_cast<std::size_t>(sent);
    forwarded[way] += static_cast<std::uint64_t>(sent);
    if (piece.sent == piece.bytes.size()) flow.waiting.pop_front();
  }
  if (flow.is_doomed && flow.waiting.empty()) {
    connection.reset_both();
    if (auto& to_come = weather_to_come.fault; to_come && to_come->times != 0 && --to_come->times == 0) to_come.reset();
  }
}

Proxy::Proxy(const std::string& target, const Options& options) : state_(std::make_unique<State>(target, options)) {}
Proxy::~Proxy() = default;

const std::string& Proxy::address() const { return state_->address; }

void Proxy::set(const Weather& weather, int connection) {
  if (connection == kAll) {
    const std::lock_guard lock(state_->mutex);
    state_->weather_to_come = weather;
  }
  state_->change(connection, [&](Connection& one) { one.weather = weather; });
}

void Proxy::cut(int connection) {
  state_->change(connection, [](Connection& one) { one.reset_both(); });
}

void Proxy::leave_half_open(Way gone, int connection) {
  state_->change(connection, [gone](Connection& one) {
    one.is_half_open = true;
    reset(one.ends[gone == Way::kThere ? kTarget : kClient]);
  });
}

void Proxy::set_target(const std::string& target) {
  const std::lock_guard lock(state_->mutex);
  state_->target = to_sockaddr(target);
}

int Proxy::connections() const {
  const std::lock_guard lock(state_->mutex);
  return state_->accepted;
}

std::uint64_t Proxy::forwarded(Way way) const {
  const std::lock_guard lock(state_->mutex);
  return state_->forwarded[static_cast<int>(way)];
}

}  // namespace rayx::kit

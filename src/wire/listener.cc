#include "wire/listener.hpp"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <map>
#include <unordered_map>
#include <utility>

#include "wire/channel.hpp"

namespace rayx::wire {
namespace {

constexpr base::TimeNs kSecondNs = 1'000'000'000;
constexpr std::chrono::milliseconds kPauseWithoutSockets{100};

}  // namespace

struct Listener::State : std::enable_shared_from_this<State> {
  State(Loop& on, const ListenerOptions& how, const LinkConfig& with) : loop(on), options(how), config(with) {}

  void take_some();
  bool may_start_one();
  void pause(std::chrono::nanoseconds for_ns);
  void start(base::UniqueFd socket);
  void settled(std::uint64_t id, Result<void> result);
  void resume(const std::shared_ptr<Channel>& channel);
  void remember(const std::shared_ptr<Channel>& channel);
  void refused(RefusedWhy why, const Endpoint& peer, std::string message);
  void report(RefusedWhy why);

  // How many were refused for one reason since its last report.
  struct Tally {
    std::uint64_t count = 0;
    Endpoint peer;
    std::string message;
    TimerId timer = 0;  // runs while reports of this reason are held back
  };

  Loop& loop;
  const ListenerOptions options;
  const LinkConfig config;
  std::function<void(std::unique_ptr<Link>)> on_link;
  std::function<void(const RefusedReport&)> on_refused;
  base::UniqueFd socket;
  Endpoint endpoint;
  std::map<std::uint64_t, std::shared_ptr<Channel>> unfinished;  // the first is the oldest
  std::uint64_t last_id = 0;
  std::unordered_map<std::uint64_t, std::weak_ptr<Channel>> sessions;  // of links that may be resumed
  std::size_t sessions_looked_through = 0;                             // so many were left the last time
  double allowance = 0;                                                // handshakes that may start now
  base::TimeNs allowance_ns = 0;
  TimerId pause_timer = 0;
  std::array<Tally, kRefusedWhys> tallies;
  Watch watch;
};

Result<std::unique_ptr<Listener>> Listener::create(Loop& loop, const ListenerOptions& options, const LinkConfig& config,
                                                   std::function<void(std::unique_ptr<Link>)> on_link,
                                                   std::function<void(const RefusedReport&)> on_refused) {
  const Result<Address> address = Address::from_numbers(options.address, options.port);
  if (!address) return address.error();
  auto state = std::make_shared<State>(loop, options, config);
  state->on_link = std::move(on_link);
  state->on_refused = std::move(on_refused);
  const auto failed = [&](const char* what, const char* advice) {
    return Error{ErrorCode::kSystemError,
                 "no listener on " + address->endpoint().text() + ": " + what + ": " + std::strerror(errno) + advice};
  };
  state->socket = base::UniqueFd(::socket(address->family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!state->socket) return failed("no socket", "");
  const int fd = state->socket.get();
  // A node that starts again takes its port back, although old connections linger in the kernel.
  const int yes = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
  if (::bind(fd, address->get(), address->bytes()) != 0) {
    return failed("bind", errno == EADDRINUSE
                              ? ". Another process has the port: choose another one, or 0 for any that is free"
                          : errno == EADDRNOTAVAIL ? ". This machine has no such address: look at `ip address`"
                                                   : "");
  }
  if (::listen(fd, kListenBacklog) != 0) return failed("listen", "");
  state->endpoint = Address::local_of(fd).endpoint();
  state->allowance = options.handshake_burst;
  state->allowance_ns = loop.now_ns();
  if (!state->watch.begin(
          loop, fd, [raw = state.get()] { raw->take_some(); }, [] {}))
    return failed("epoll", "");
  state->watch.want_readable();
  return std::unique_ptr<Listener>(new Listener(std::move(state)));
}

Listener::Listener(std::shared_ptr<State> state) : state_(std::move(state)) {}
Listener::~Listener() {
  state_->watch.end();
  state_->loop.cancel(state_->pause_timer);
  for (const State::Tally& tally : state_->tallies) state_->loop.cancel(tally.timer);
  state_->on_link = nullptr;
  state_->on_refused = nullptr;
  for (const auto& [id, channel] : std::exchange(state_->unfinished, {})) channel->abandon();
}
const Endpoint& Listener::endpoint() const { return state_->endpoint; }
std::size_t Listener::unfinished_handshakes() const { return state_->unfinished.size(); }

// The bucket fills with the rate; what does not fit in waits in the kernel's backlog, which costs no CPU.
bool Listener::State::may_start_one() {
  const base::TimeNs now = loop.now_ns();
  const double earned =
      static_cast<double>(now - std::exchange(allowance_ns, now)) * options.handshakes_per_second / kSecondNs;
  allowance = std::min<double>(allowance + earned, options.handshake_burst);
  if (allowance >= 1) {
    allowance -= 1;
    return true;
  }
  pause(std::chrono::nanoseconds(kSecondNs / std::max<std::uint32_t>(options.handshakes_per_second, 1)));
  return false;
}

void Listener::State::pause(std::chrono::nanoseconds for_ns) {
  loop.cancel(pause_timer);
  pause_timer = loop.call_after(for_ns, [weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->watch.want_readable();
  });
}

void Listener::State::take_some() {
  const auto self = shared_from_this();
  while (on_link && may_start_one()) {
    base::UniqueFd accepted(::accept4(socket.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
    if (accepted) {
      start(std::move(accepted));
      continue;
    }
    allowance += 1;  // nobody came
    if (errno == EAGAIN || errno == EWOULDBLOCK) return watch.want_readable();
    if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
      refused(RefusedWhy::kNoSockets, endpoint,
              std::string("connections wait at ") + endpoint.text() + " and cannot be taken: " + std::strerror(errno) +
                  ". Close some, or raise the limit (`ulimit -n`)");
      return pause(kPauseWithoutSockets);
    }
    // Else that one connection broke while it waited.
  }
}

void Listener::State::start(base::UniqueFd accepted) {
  if (unfinished.size() >= options.handshakes_max) {
    // An honest peer is done in milliseconds, and the rate gives it at least handshakes_max / handshakes_per_second.
    const auto oldest = unfinished.begin();
    const std::shared_ptr<Channel> channel = oldest->second;
    unfinished.erase(oldest);
    channel->abandon();
    refused(RefusedWhy::kCrowded, channel->peer(),
            std::to_string(options.handshakes_max) + " connections to " + endpoint.text() +
                " have not finished their handshake; the oldest, from " + channel->peer().text() +
                ", was closed. If this stays, somebody who is no node connects to the port");
    if (!on_link) return;
  }
  const std::uint64_t id = ++last_id;
  const auto channel = std::make_shared<Channel>(loop, std::move(accepted), Role::kServer, config);
  unfinished.emplace(id, channel);
  channel->begin(options.handshake_timeout, [weak = weak_from_this(), id](Result<void> result) {
    if (const auto self = weak.lock()) self->settled(id, std::move(result));
  });
}

void Listener::State::settled(std::uint64_t id, Result<void> result) {
  const auto found = unfinished.find(id);
  if (found == unfinished.end()) return;
  const std::shared_ptr<Channel> channel = std::move(found->second);
  unfinished.erase(found);
  if (result) {
    if (channel->session().is_again) return resume(channel);
    if (channel->session().id != 0) remember(channel);
    on_link(std::make_unique<Link>(channel));
  } else {
    refused(RefusedWhy::kHandshake, channel->peer(),
            "a connection from " + channel->peer().text() + " to " + endpoint.text() +
                " was not let in: " + result.error().message);
  }
}

void Listener::State::remember(const std::shared_ptr<Channel>& channel) {
  constexpr std::size_t kFew = 64;
  if (sessions.size() >= kFew + 2 * sessions_looked_through) {
    std::erase_if(sessions, [](const auto& session) { return session.second.expired(); });
    sessions_looked_through = sessions.size();
  }
  sessions[channel->session().id] = channel;
}

void Listener::State::resume(const std::shared_ptr<Channel>& channel) {
  const auto found = sessions.find(channel->session().id);
  const std::shared_ptr<Channel> link = found == sessions.end() ? nullptr : found->second.lock();
  if (link == nullptr || !link->may_be_resumed())
    return channel->close("the link is not known here any more: this process was started anew, or had given it up");
  // Not in this call, which comes from the new one's parser.
  loop.post([link, channel] { link->may_be_resumed() ? link->take_over(*channel) : channel->abandon(); });
}

void Listener::State::refused(RefusedWhy why, const Endpoint& peer, std::string message) {
  Tally& tally = tallies[static_cast<std::size_t>(why)];
  ++tally.count;
  tally.peer = peer;
  tally.message = std::move(message);
  if (tally.timer == 0) report(why);
}

void Listener::State::report(RefusedWhy why) {
  Tally& tally = tallies[static_cast<std::size_t>(why)];
  tally.timer = 0;
  if (tally.count == 0) return;
  tally.timer = loop.call_after(kRefusalReportInterval, [weak = weak_from_this(), why] {
    if (const auto self = weak.lock()) self->report(why);
  });
  const RefusedReport about{why, std::exchange(tally.count, 0), tally.peer, tally.message};
  if (const auto tell = on_refused) tell(about);
}

}  // namespace rayx::wire

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "wire/channel.hpp"
#include "wire/crypto.hpp"
#include "wire/link.hpp"
#include "wire/words.hpp"

namespace rayx::wire {
namespace {

SessionHello new_session(const LinkOptions& options) {
  SessionHello session;
  if (options.resume_patience.count() <= 0) return session;
  std::array<std::byte, sizeof(session.id)> id;
  do {
    fill_random(id);
    session.id = load<std::uint64_t>(id.data());
  } while (session.id == 0);
  session.patience_ms = static_cast<std::uint32_t>(std::min(options.resume_patience, kResumePatienceMax).count());
  return session;
}

}  // namespace

struct Connector::State : std::enable_shared_from_this<State> {
  State(Loop& on, const Endpoint& to, const LinkConfig& with, const SessionHello& as)
      : loop(on), endpoint(to), config(with), session(as) {}
  ~State() { end(); }

  void begin(std::chrono::milliseconds timeout);
  void try_next();
  void connected();
  void attempt_failed(const std::string& why);
  void give(Result<std::unique_ptr<Link>> result);
  void end();

  Loop& loop;
  const Endpoint endpoint;
  const LinkConfig config;
  const SessionHello session;
  std::function<void(Result<std::unique_ptr<Link>>)> answer;
  base::TimeNs deadline_ns = 0;
  std::unique_ptr<Resolution> resolution;
  std::vector<Address> addresses;
  std::size_t next = 0;
  std::string failures;
  std::size_t refusals = 0;
  TimerId timer = 0;
  base::UniqueFd socket;
  std::unique_ptr<Watch> watch;
  std::shared_ptr<Channel> channel;
};

Connector::Connector(Loop& loop, const Endpoint& endpoint, const LinkConfig& config,
                     std::function<void(Result<std::unique_ptr<Link>>)> answer, std::chrono::milliseconds timeout)
    : Connector(loop, endpoint, config, new_session(config.options), std::move(answer), timeout) {}
Connector::Connector(Loop& loop, const Endpoint& endpoint, const LinkConfig& config, const SessionHello& session,
                     std::function<void(Result<std::unique_ptr<Link>>)> answer, std::chrono::milliseconds timeout)
    : state_(std::make_shared<State>(loop, endpoint, config, session)) {
  state_->answer = std::move(answer);
  state_->begin(timeout);
}
bool Connector::was_refused() const {
  return !state_->addresses.empty() && state_->refusals == state_->addresses.size();
}
Connector::~Connector() {
  state_->answer = nullptr;
  state_->end();
}

void Connector::State::begin(std::chrono::milliseconds timeout) {
  deadline_ns = base::deadline_ns(loop.now_ns(), timeout);
  timer = loop.call_at(deadline_ns, [weak = weak_from_this()] {
    const auto self = weak.lock();
    if (self)
      self->give(Error{ErrorCode::kTimeout,
                       "the name was not resolved in time. Look at `getent hosts " + self->endpoint.host + "`"});
  });
  resolution = std::make_unique<Resolution>();
  resolution->begin(loop, endpoint, [this](Result<std::vector<Address>> found) {
    const auto self = shared_from_this();
    if (!found) return give(found.error());
    addresses = std::move(*found);
    try_next();
  });
}

void Connector::State::try_next() {
  loop.cancel(std::exchange(timer, 0));
  watch.reset();
  socket.reset();
  const base::TimeNs left_ns = deadline_ns - loop.now_ns();
  if (next == addresses.size() || left_ns <= 0) {
    return give(Error{
        left_ns <= 0 ? ErrorCode::kTimeout : ErrorCode::kSystemError,
        failures + ". Is the node up, does it listen on that address and port, and does no firewall stand between?"});
  }
  // Each address has its share, so that one that swallows packets does not take the time of those behind it.
  const base::TimeNs share_ns = left_ns / static_cast<base::TimeNs>(addresses.size() - next);
  const Address& address = addresses[next++];
  socket = base::UniqueFd(::socket(address.family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!socket) return attempt_failed(std::strerror(errno));
  if (::connect(socket.get(), address.get(), address.bytes()) != 0 && errno != EINPROGRESS) {
    if (errno == ECONNREFUSED) ++refusals;
    return attempt_failed(std::strerror(errno));
  }
  watch = std::make_unique<Watch>();
  if (!watch->begin(
          loop, socket.get(), [] {}, [this] { connected(); })) {
    return attempt_failed("the kernel watches no more sockets (epoll)");
  }
  watch->want_writable();
  timer = loop.call_after(std::chrono::nanoseconds(share_ns), [weak = weak_from_this(), share_ns] {
    const auto self = weak.lock();
    if (self) self->attempt_failed("no answer within " + std::to_string(share_ns / 1'000'000) + " ms");
  });
}

void Connector::State::attempt_failed(const std::string& why) {
  failures += (failures.empty() ? "" : "; ") + addresses[next - 1].endpoint().text() + ": " + why;
  try_next();
}

void Connector::State::connected() {
  const auto self = shared_from_this();
  int error = 0;
  socklen_t bytes = sizeof(error);
  ::getsockopt(socket.get(), SOL_SOCKET, SO_ERROR, &error, &bytes);
  if (error == ECONNREFUSED) ++refusals;
  if (error != 0) return attempt_failed(std::strerror(error));
  // A port of this machine's own range that nobody listens on can be met by its own connection.
  if (Address::local_of(socket.get()).endpoint() == Address::peer_of(socket.get()).endpoint()) {
    return attempt_failed("nobody listens there");
  }
  loop.cancel(std::exchange(timer, 0));
  watch.reset();
  channel = std::make_shared<Channel>(loop, std::move(socket), Role::kClient, config, session);
  channel->set_way_back(endpoint);
  const base::TimeNs left_ns = std::max<base::TimeNs>(deadline_ns - loop.now_ns(), 0);
  channel->begin(std::chrono::nanoseconds(left_ns), [weak = weak_from_this()](Result<void> result) {
    const auto state = weak.lock();
    if (!state) return;
    if (!result) return state->give(result.error());
    state->give(std::make_unique<Link>(std::exchange(state->channel, nullptr)));
  });
}

void Connector::State::give(Result<std::unique_ptr<Link>> result) {
  auto asker = std::exchange(answer, nullptr);
  if (!asker) return;
  if (!result) result = Error{result.error().code, "no link to " + endpoint.text() + ": " + result.error().message};
  const auto self = shared_from_this();
  end();
  asker(std::move(result));
}

void Connector::State::end() {
  loop.cancel(std::exchange(timer, 0));
  resolution.reset();
  watch.reset();
  socket.reset();
  if (channel) std::exchange(channel, nullptr)->abandon();
}

}  // namespace rayx::wire

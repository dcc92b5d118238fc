#include "wire/loop.hpp"

#include <sched.h>

#include <algorithm>
#include <exception>
#include <optional>
#include <string>
#include <type_traits>
#include <variant>

#include "base/check.hpp"
#include "wire/loop_core.hpp"

namespace rayx::wire {

Result<std::unique_ptr<Loop>> Loop::create(const base::Clock& clock) {
  try {
    return std::unique_ptr<Loop>(new Loop(std::make_unique<Core>(clock)));
  } catch (const std::exception& error) {
    return Error{ErrorCode::kSystemError,
                 std::string("no event loop could be made: ") + error.what() +
                     ". It needs three descriptors (epoll, eventfd, timerfd); look at `ulimit -n`"};
  }
}

Loop::Loop(std::unique_ptr<Core> core) : core_(std::move(core)) {}

// What waits may hold links, which still look at the loop while they end.
Loop::~Loop() {
  std::vector<std::function<void()>> posted;
  {
    const std::lock_guard lock(core_->mutex);
    posted.swap(core_->posted);
  }
  core_->due_ns.clear();
  std::exchange(core_->timers, {}).clear();
  std::exchange(core_->turn_ends, {}).clear();
}

void Loop::run(std::chrono::nanoseconds patience) {
  core_->runner.store(std::this_thread::get_id(), std::memory_order_relaxed);
  if (patience.count() == 0) {
    core_->io.run();
  } else {
    while (core_->io.run_one() != 0) core_->poll_for(patience);
  }
  core_->runner.store({}, std::memory_order_relaxed);
}

void Loop::Core::poll_for(std::chrono::nanoseconds patience) {
  // Whoever gives away a core that others want gets it back after milliseconds; who sleeps is preferred when he wakes.
  constexpr base::TimeNs kYieldTooLong_ns = 30'000;
  constexpr base::TimeNs kWithoutPatience_ns = 10'000'000;
  base::TimeNs now = clock.now_ns();
  if (now < impatient_until_ns) return;
  base::TimeNs until = now + patience.count();
  for (;;) {
    if (io.poll() != 0) {
      now = clock.now_ns();
      until = now + patience.count();
      continue;
    }
    if (io.stopped() || now >= until) return;
    const base::TimeNs before = clock.now_ns();
    ::sched_yield();
    now = clock.now_ns();
    if (now - before < kYieldTooLong_ns) continue;
    impatient_until_ns = now + kWithoutPatience_ns;
    return;
  }
}

void Loop::stop() { core_->io.stop(); }

bool Loop::is_loop_thread() const {
  return core_->runner.load(std::memory_order_relaxed) == std::this_thread::get_id();
}

void Loop::post(std::function<void()> work) {
  bool is_first;
  {
    const std::lock_guard lock(core_->mutex);
    is_first = core_->posted.empty();
    core_->posted.push_back(std::move(work));
  }
  if (is_first) asio::post(core_->io, [core = core_.get()] { core->run_posted(); });
}

void Loop::Core::run_posted() {
  std::vector<std::function<void()>> batch;
  {
    const std::lock_guard lock(mutex);
    batch.swap(posted);
  }
  for (std::function<void()>& work : batch) {
    if (io.stopped()) return;
    turn(work);
  }
}

void Loop::at_end_of_turn(std::function<void()> work) {
  // Nobody would end a turn that is not one: before run() it is posted.
  if (!is_loop_thread()) return post(std::move(work));
  core_->turn_ends.push_back(std::move(work));
}

void Loop::Core::end_turn() {
  // What is done at the end may put more off: that is done too.
  for (std::size_t i = 0; i < turn_ends.size(); ++i) std::exchange(turn_ends[i], nullptr)();
  turn_ends.clear();
}

base::TimeNs Loop::now_ns() const { return core_->clock.now_ns(); }

TimerId Loop::call_at(base::TimeNs at_ns, std::function<void()> work) {
  const TimerId id = ++core_->last_timer;
  core_->timers.emplace(std::pair(at_ns, id), std::move(work));
  core_->due_ns.emplace(id, at_ns);
  core_->set_alarm();
  return id;
}

TimerId Loop::call_after(std::chrono::nanoseconds delay, std::function<void()> work) {
  return call_at(base::deadline_ns(now_ns(), delay), std::move(work));
}

void Loop::cancel(TimerId timer) {
  const auto found = core_->due_ns.find(timer);
  if (found == core_->due_ns.end()) return;
  core_->timers.erase({found->second, timer});  // an alarm that comes for nothing is cheaper than setting it anew
  core_->due_ns.erase(found);
}

void Loop::look_at_timers() {
  post([core = core_.get()] { core->run_due(); });
}

void Loop::Core::run_due() {
  const base::TimeNs now = clock.now_ns();
  const TimerId newest = last_timer;  // those that are set meanwhile have their turn later
  alarm_ns = base::kNever;
  for (auto next = timers.begin(); next != timers.end() && next->first.first <= now && !io.stopped();
       next = timers.begin()) {
    while (next != timers.end() && next->first.first <= now && next->first.second > newest) ++next;
    if (next == timers.end() || next->first.first > now) break;
    std::function<void()> work = std::move(next->second);
    due_ns.erase(next->first.second);
    timers.erase(next);
    turn(work);
  }
  set_alarm();
}

void Loop::Core::set_alarm() {
  if (timers.empty() || timers.begin()->first.first >= alarm_ns || timers.begin()->first.first == base::kNever) return;
  alarm_ns = timers.begin()->first.first;
  // The kernel waits in real time. A clock that is moved by hand is followed by look_at_timers.
  constexpr base::TimeNs kAtMostNs = 3'600'000'000'000;
  const base::TimeNs wait_ns = std::clamp<base::TimeNs>(alarm_ns - clock.now_ns(), 0, kAtMostNs);
  alarm.expires_after(std::chrono::nanoseconds(wait_ns));
  alarm.async_wait([this](const asio::error_code& error) {
    if (!error) run_due();
  });
}

struct Watch::State {
  // The loop's own executor in the type: a type-erased one costs 0.2 us for each event.
  using Executor = asio::io_context::executor_type;
  using Plain = asio::posix::basic_stream_descriptor<Executor>;
  using Socket = asio::basic_stream_socket<asio::ip::tcp, Executor>;

  State(Loop& loop, std::function<void()> readable, std::function<void()> writable)
      : core(loop.core()), on_readable(std::move(readable)), on_writable(std::move(writable)) {}

  Loop::Core& core;
  std::optional<std::variant<Plain, Socket>> descriptor;
  std::function<void()> on_readable;
  std::function<void()> on_writable;
  bool has_ended = false;
  bool waits_for_read = false;
  bool waits_for_write = false;
};

template <class Descriptor>
bool Watch::begin_as(Loop& loop, int fd, std::function<void()> on_readable, std::function<void()> on_writable) {
  RAYX_CHECK(!state_, "a watch begins once", fd);
  auto state = std::make_shared<State>(loop, std::move(on_readable), std::move(on_writable));
  asio::error_code error;
  Descriptor descriptor(loop.core().io);
  if constexpr (std::is_same_v<Descriptor, State::Socket>) {
    descriptor.assign(asio::ip::tcp::v4(), fd, error);  // the family makes no difference to reading and waiting
  } else {
    descriptor.assign(fd, error);
  }
  if (error) return false;
  state->descriptor.emplace(std::move(descriptor));
  state_ = std::move(state);
  return true;
}

bool Watch::begin(Loop& loop, int fd, std::function<void()> on_readable, std::function<void()> on_writable) {
  return begin_as<State::Plain>(loop, fd, std::move(on_readable), std::move(on_writable));
}
bool Watch::begin_tcp(Loop& loop, int fd, std::function<void()> on_readable, std::function<void()> on_writable) {
  return begin_as<State::Socket>(loop, fd, std::move(on_readable), std::move(on_writable));
}

void Watch::want_readable() {
  if (!state_ || std::exchange(state_->waits_for_read, true)) return;
  const auto wait = [&](auto& descriptor) {
    descriptor.async_wait(descriptor.wait_read, [state = state_](const asio::error_code&) {
      if (state->has_ended) return;
      state->waits_for_read = false;
      state->core.turn([&] { state->on_readable(); });
    });
  };
  std::visit(wait, *state_->descriptor);
}

void Watch::want_bytes(std::span<std::byte> place) {
  if (!state_ || std::exchange(state_->waits_for_read, true)) return;
  waits_for_bytes_ = true;
  // Asio reads when the kernel says that bytes are there. After a read that did not fill the place it neither tries again nor
  // asks epoll anew, as async_wait does each time.
  std::get<State::Socket>(*state_->descriptor)
      .async_receive(asio::buffer(place.data(), place.size()),
                     [this, state = state_](const asio::error_code& error, std::size_t bytes) {
                       if (state->has_ended) return;
                       state->waits_for_read = false;
                       waits_for_bytes_ = false;
                       received_ = error ? 0 : bytes;
                       error_ = error && error != asio::error::eof ? error.value() : 0;
                       state->core.turn([&] { state->on_readable(); });
                     });
}

void Watch::want_writable() {
  if (!state_ || std::exchange(state_->waits_for_write, true)) return;
  const auto wait = [&](auto& descriptor) {
    descriptor.async_wait(descriptor.wait_write, [state = state_](const asio::error_code&) {
      if (state->has_ended) return;
      state->waits_for_write = false;
      state->core.turn([&] { state->on_writable(); });
    });
  };
  std::visit(wait, *state_->descriptor);
}

void Watch::end() {
  if (!state_) return;
  state_->has_ended = true;
  asio::error_code ignored;
  if (auto* const socket = std::get_if<State::Socket>(&*state_->descriptor)) {
    socket->release(ignored);
  } else {
    std::get<State::Plain>(*state_->descriptor).release();
  }
  waits_for_bytes_ = false;
  received_ = 0;
  error_ = 0;
  // The callbacks may hold what owns this watch; a call that is under way still needs its own.
  state_.reset();
}

}  // namespace rayx::wire

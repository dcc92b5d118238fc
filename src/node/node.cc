#include "node/node.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "process/spawn_self.hpp"
#include "process/worker_setup.hpp"
#include "shm/machine_limits.hpp"

namespace rayx::node {
namespace {

// Of descriptors in the epoll set, besides those of workers.
enum Tag : std::uint64_t { kEventFd = 1, kForkServer, kServerOut, kServerErr };

constexpr base::TimeNs kMs = 1'000'000;
constexpr std::chrono::seconds kReadyTimeout{30};
constexpr base::TimeNs kProspectPause_ns = 50 * kMs;  // other nodes hear of it each time
constexpr base::TimeNs kLeaveGrace_ns = 1'000 * kMs;  // for destructors of actors when the runtime ends

}  // namespace

Result<std::unique_ptr<Node>> Node::start(NodeConfig config) {
  std::unique_ptr<Node> node(new Node(std::move(config)));
  Result<void> opened = node->open();
  if (!opened) return std::move(opened).error();
  return node;
}

Result<void> Node::open() {
  process::hold_standard_descriptors();
  shm::ArenaConfig arena;
  arena.control_bytes = shm::Control::bytes_for(kProcesses, kLanes) + 4096 + shm::DeathNotes::bytes_for(kProcesses);
  arena.store_bytes = config_.store_bytes;
  Result<shm::Arena> made = shm::Arena::create(arena);
  if (!made) return std::move(made).error();
  arena_ = std::make_shared<shm::Arena>(std::move(*made));
  control_ = shm::Control::create(arena_->segment(), kProcesses, kLanes);
  control_.header().arena_mark = static_cast<std::uint32_t>(process::random_word()) & shm::kArenaMarkMask;
  notes_ = shm::DeathNotes(arena_->segment(), kProcesses, kLanes);
  driver_ = *control_.add_process(config_.first_generation);
  control_.slot(driver_).pid.store(::getpid(), std::memory_order_relaxed);
  if (config_.has_relay) {
    relay_ = *control_.add_process(config_.first_generation);
    control_.header().has_relay = 1;
    control_.slot(relay_).pid.store(::getpid(), std::memory_order_relaxed);
    control_.lane(shm::kServiceLane).state().is_served.store(1, std::memory_order_relaxed);
    control_.lane(shm::kServiceLane)
        .state()
        .cpu_units.store(shm::kNobodyHere, std::memory_order_relaxed);  // nobody else takes it
    control_.lane(shm::kServiceLane).state().generation.store(1, std::memory_order_release);
    control_.lane(shm::kServiceLane).add_relay(relay_);
  }
  if (config_.shared_memory != nullptr) {
    RAYX_CHECK(config_.shared_memory->total_bytes() == arena_->store_bytes(), "a node shares other memory than it has");
    memory_member_ = std::make_unique<SharedMemory::Member>(
        *config_.shared_memory, [this] { ring(); },
        [this](const store::Extent& unused) { arena_->drop_pages(unused.offset, unused.bytes); });
  }
  desk_ = std::make_unique<MemoryDesk>(arena_->store_begin(), arena_->store_bytes(), clock_, memory_member_.get());
  sched::Effects& effects = *this;
  scheduler_ = std::make_unique<sched::Scheduler>(sched::Units{config_.cpus} * sched::kUnitsOfOneCpu,
                                                  static_cast<std::uint32_t>(config_.max_workers), effects);
  control_.header().share_units.store(static_cast<std::uint64_t>(scheduler_->total()), std::memory_order_relaxed);
  if (config_.shared_cpus != nullptr) {  // until it has been told more
    RAYX_CHECK(config_.shared_cpus->total() == scheduler_->total(), "a node shares other CPUs than it has");
    scheduler_->set_share(0, scheduler_->total(), clock_.now_ns());
  }
  eventfd_ = base::UniqueFd(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  epoll_ = base::UniqueFd(::epoll_create1(EPOLL_CLOEXEC));
  if (!eventfd_ || !epoll_) {
    return Error{ErrorCode::kSystemError, std::string("rayx: init: no file descriptors for the node (") +
                                              std::strerror(errno) + "). Raise the limit of open files (ulimit -n)"};
  }
  watch(eventfd_.get(), kEventFd);

  store::LeaseRequest request;
  request.lessee = driver_;
  request.bytes = config_.modules.size() + 1;
  request.deadline_ns = 0;
  Result<store::Lease> lease = desk_->lease(request);
  if (!lease) return std::move(lease).error();
  modules_ = lease->extent.offset;
  std::memcpy(arena_->writable(modules_), config_.modules.data(), config_.modules.size());

  if (!start_fork_server()) return Error{ErrorCode::kSystemError, start_error_};
  Result<void> ready = fork_server_->wait_ready(kReadyTimeout, *this);
  if (!ready) {
    Error error = std::move(ready).error();
    if (server_err_lines_ != nullptr && server_err_) {
      server_err_lines_->drain(server_err_.get(), err_);
      const std::string lines = observe::indent_lines(server_err_lines_->last_lines());
      if (!lines.empty()) error.message += "\nIts last lines:\n" + lines;
    }
    return error;
  }
  try {
    thread_ = base::Thread([this] { run(); });
  } catch (const std::system_error& error) {
    fork_server_.reset();
    return Error{ErrorCode::kSystemError, std::string("rayx: init: no thread could be started for the node (") +
                                              error.what() +
                                              "). Raise the limits of processes and memory (ulimit -u, ulimit -v)"};
  }
  return {};
}

Node::~Node() { stop(); }

void Node::ring() {
  const std::lock_guard lock(ring_mutex_);
  if (!eventfd_) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(eventfd_.get(), &one, sizeof(one));
}

void Node::stop() {
  if (!thread_.joinable()) return;
  if (::getpid() != pid_) return thread_.detach();  // in a child that the user's program forked there is no such thread
  stopping_.store(true, std::memory_order_release);
  ring();
  thread_.join();
  // What a user may still read stays mapped; descriptors are given back. Nobody rings any more: the asker is closed.
  fork_server_.reset();
  workers_.clear();
  server_out_.reset();
  server_err_.reset();
  epoll_.reset();
  {
    const std::lock_guard lock(ring_mutex_);
    eventfd_.reset();
  }
  arena_->close_fd();
}

void Node::watch(int fd, std::uint64_t tag) {
  epoll_event event{};
  event.events = EPOLLIN;
  event.data.u64 = tag;
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event);
}

base::TimeNs Node::next_deadline_ns() {
  return std::min({scheduler_->next_deadline_ns(), desk_->next_deadline_ns(), look_again_ns_, flush_partial_ns_,
                   start_again_ns_, share_again_ns_});
}

void Node::loop_once() {
  const base::TimeNs now = clock_.now_ns();
  answer_calls();
  desk_->follow_others();
  answer_leases();
  if (now >= scheduler_->next_deadline_ns()) scheduler_->tick(now);
  if (now >= start_again_ns_) {
    start_again_ns_ = base::kNever;
    if (fork_server_ == nullptr && !start_fork_server()) start_again_ns_ = now + 100 * kMs;
    for (const auto& [slot, worker] : workers_)
      if (worker.stage == WorkerProcess::Stage::kWanted && !worker.is_asked_for) spawn(slot);
  }
  bury();
  flush_output();
  const std::optional<store::Extent> cold = desk_->next_prefault();
  if (cold) desk_->prefaulted(*cold, bool(arena_->prefault(cold->offset, cold->bytes)));

  if (share_member_ != nullptr) follow_share();
  if (config_.has_relay && !config_.is_all_here) publish_load();

  const shm::NodeAnswerer answerer(control_.header().node_calls);
  int timeout_ms = 0;
  if (!cold && answerer.announce_sleep()) {
    const base::TimeNs deadline = next_deadline_ns();
    timeout_ms = -1;
    if (deadline != base::kNever)
      timeout_ms = static_cast<int>(std::clamp<base::TimeNs>((deadline - clock_.now_ns() + kMs - 1) / kMs, 0, 60'000));
  }
  epoll_event events[64];
  const int count = ::epoll_wait(epoll_.get(), events, 64, timeout_ms);
  answerer.awake();
  for (int i = 0; i < count; ++i) on_readable(events[i].data.u64);
  ended_fork_server_.reset();
}

// For the relay, which tells other nodes: where there are none it is not woken.
void Node::publish_load() {
  const sched::Scheduler::Held held = scheduler_->held();
  shm::ControlHeader& header = control_.header();
  header.actors_units.store(static_cast<std::uint64_t>(held.by_actors), std::memory_order_relaxed);
  const auto lent = static_cast<std::uint64_t>(held.lent);
  if (header.lent_units.exchange(lent, std::memory_order_relaxed) != lent && config_.tell_relay)
    config_.tell_relay({RelayNews::Kind::kLent, {}, 0, {}});
}

// After what has happened: tells what the job uses and wants of the CPUs that it shares with others, and does what it hears. Alone it
// uses them all and tells nothing.
void Node::follow_share() {
  const base::TimeNs now = clock_.now_ns();
  const bool is_time = share_member_->is_called() || now >= share_again_ns_;
  if (share_.is_alone && !is_time) return;
  constexpr int kTurnsMax = 3;  // what is given is used at once, and that is told too
  sched::Wish wish = scheduler_->wish(now);
  if (wish == told_wish_ && !is_time) return;
  for (int turn = 0; turn < kTurnsMax; ++turn) {
    told_wish_ = wish;
    share_ = share_member_->report(wish, now);
    scheduler_->set_share(share_.limit, share_.ceiling, now);
    wish = scheduler_->wish(now);
    if (wish == told_wish_) break;
  }
  share_again_ns_ = wish == told_wish_ ? share_.look_again_ns : now + sched::kQuantum_ns;
  publish_prospect(share_.prospect, now);
}

void Node::publish_prospect(sched::Units prospect, base::TimeNs now) {
  std::atomic<std::uint64_t>& published = control_.header().share_units;
  const auto units = static_cast<std::uint64_t>(prospect);
  if (published.load(std::memory_order_relaxed) == units) return;
  if (now < prospect_at_ns_) {
    share_again_ns_ = std::min(share_again_ns_, prospect_at_ns_);
    return;
  }
  prospect_at_ns_ = now + kProspectPause_ns;
  published.store(units, std::memory_order_relaxed);
  if (config_.tell_relay) config_.tell_relay({RelayNews::Kind::kLent, {}, 0, {}});
}

void Node::on_readable(std::uint64_t tag) {
  switch (tag) {
    case kEventFd: {
      std::uint64_t value = 0;
      [[maybe_unused]] const ssize_t got = ::read(eventfd_.get(), &value, sizeof(value));
      return;
    }
    case kForkServer:
      if (fork_server_ != nullptr) fork_server_->handle_readable(*this);
      return;
    case kServerOut:
      if (server_out_ && server_out_lines_->drain(server_out_.get(), out_) == observe::LinePrefixer::Drained::kClosed)
        server_out_.reset();
      return;
    case kServerErr:
      if (server_err_ && server_err_lines_->drain(server_err_.get(), err_) == observe::LinePrefixer::Drained::kClosed)
        server_err_.reset();
      return;
    default: break;
  }
  const auto slot = static_cast<std::uint32_t>(tag);
  const auto found = workers_.find(slot);
  if (found == workers_.end()) return;
  WorkerProcess& worker = found->second;
  const bool is_out = (tag >> 32 << 32) == kWorkerOut;
  base::UniqueFd& fd = is_out ? worker.out : worker.err;
  observe::OutputWriter& to = is_out ? out_ : err_;
  if (!fd || to.is_congested()) return;
  observe::LinePrefixer& lines = is_out ? *worker.out_lines : *worker.err_lines;
  if (lines.drain(fd.get(), to) == observe::LinePrefixer::Drained::kClosed) {
    lines.finish(to);
    fd.reset();
  }
  if (lines.has_partial() && flush_partial_ns_ == base::kNever) flush_partial_ns_ = clock_.now_ns() + 100 * kMs;
}

void Node::show(bool is_err, std::string text, std::function<void()> done) {
  {
    const std::lock_guard lock(shown_mutex_);
    shown_.push_back({is_err, std::move(text), std::move(done)});
  }
  ring();
}

void Node::take_shown() {
  for (;;) {
    Shown next;
    {
      const std::lock_guard lock(shown_mutex_);
      if (shown_.empty() || (shown_.front().is_err ? err_ : out_).is_congested()) return;
      next = std::move(shown_.front());
      shown_.pop_front();
    }
    (next.is_err ? err_ : out_).append(next.text);
    next.done();
  }
}

void Node::flush_output() {
  take_shown();
  if (flush_partial_ns_ <= clock_.now_ns()) {
    flush_partial_ns_ = base::kNever;
    for (auto& [slot, worker] : workers_) {
      if (worker.out_lines != nullptr) worker.out_lines->flush_partial(out_);
      if (worker.err_lines != nullptr) worker.err_lines->flush_partial(err_);
    }
  }
  const bool is_out_done = out_.flush();
  const bool is_err_done = err_.flush();
  // Whoever reads our output is slow: look again soon. Workers' pipes are not read meanwhile, so nothing is lost.
  if (!is_out_done || !is_err_done) look_again_ns_ = std::min(look_again_ns_, clock_.now_ns() + 5 * kMs);
  if (is_out_paused_ != out_.is_congested() || is_err_paused_ != err_.is_congested()) listen_to_workers();
}

// A pipe that is not read would wake the loop again and again.
void Node::listen_to_workers() {
  is_out_paused_ = out_.is_congested();
  is_err_paused_ = err_.is_congested();
  const auto listen = [this](const base::UniqueFd& fd, std::uint64_t tag, bool is_paused) {
    epoll_event event{};
    event.events = is_paused ? 0u : EPOLLIN;
    event.data.u64 = tag;
    if (fd) ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd.get(), &event);
  };
  for (const auto& [slot, worker] : workers_) {
    listen(worker.out, kWorkerOut | slot, is_out_paused_);
    listen(worker.err, kWorkerErr | slot, is_err_paused_);
  }
}

void Node::run() {
  if (config_.shared_cpus != nullptr)
    share_member_ = std::make_unique<SharedCpus::Member>(*config_.shared_cpus, [this] { ring(); });
  while (!stopping_.load(std::memory_order_acquire)) loop_once();
  // The end. Nobody gets anything any more; who runs a task is killed, who is idle or an actor leaves by itself.
  bool any = false;
  for (auto& [slot, worker] : workers_) {
    if (worker.stage == WorkerProcess::Stage::kDead) continue;
    any = true;
    worker.is_dismissed = true;
    if (control_.slot(slot).running_depth.load(std::memory_order_acquire) != 0) {
      fork_server_ != nullptr ? fork_server_->kill_worker(slot) : void();
    } else {
      dismiss(slot);
    }
  }
  const base::TimeNs end = clock_.now_ns() + kLeaveGrace_ns;
  while (any && fork_server_ != nullptr && fork_server_->workers() > 0 && clock_.now_ns() < end) {
    answer_calls();
    answer_leases();
    epoll_event events[64];
    const int count = ::epoll_wait(epoll_.get(), events, 64, 10);
    for (int i = 0; i < count; ++i) on_readable(events[i].data.u64);
    flush_output();
    // Who went on from waiting into work after we looked.
    for (auto& [slot, worker] : workers_)
      if (worker.stage == WorkerProcess::Stage::kRunning &&
          control_.slot(slot).running_depth.load(std::memory_order_acquire) != 0 && fork_server_ != nullptr)
        fork_server_->kill_worker(slot);
    ended_fork_server_.reset();
  }
  if (fork_server_ != nullptr) fork_server_->shutdown(std::chrono::milliseconds(0), *this);
  share_member_.reset();
  ended_fork_server_.reset();
  if (server_out_ && server_out_lines_ != nullptr) server_out_lines_->drain(server_out_.get(), out_);
  if (server_err_ && server_err_lines_ != nullptr) server_err_lines_->drain(server_err_.get(), err_);
  take_shown();
  constexpr int kFlushTimeout_ms = 2'000;
  out_.flush_within(kFlushTimeout_ms);
  err_.flush_within(kFlushTimeout_ms);
}

}  // namespace rayx::node

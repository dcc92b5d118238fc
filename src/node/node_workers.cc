// Processes: their start, their leases, their end and what they leave.
#include <sys/epoll.h>
#include <unistd.h>

#include <cstring>
#include <utility>

#include "base/planted_bug.hpp"
#include "node/dead_holds.hpp"
#include "node/node.hpp"
#include "observe/crash_report.hpp"
#include "shm/lease.hpp"

namespace rayx::node {

using shm::ProcessLife;
using Stage = WorkerProcess::Stage;

namespace {

constexpr base::TimeNs kLookAgain_ns = 20'000'000;
constexpr base::TimeNs kStartAgain_ns = 50'000'000;  // of a fork server or a worker that could not be started

}  // namespace

// ---- The fork server

bool Node::start_fork_server() {
  fork_server_ = std::make_unique<process::ForkServer>();
  server_is_ready_ = false;
  process::ForkServerConfig config;
  config.program = config_.program;
  Result<void> started = fork_server_->start(config);
  if (!started) {
    start_error_ = started.error().message;
    fork_server_.reset();
    return false;
  }
  server_out_ = fork_server_->take_out();
  server_err_ = fork_server_->take_err();
  const bool colour = observe::wants_colour(2);
  server_out_lines_ = std::make_unique<observe::LinePrefixer>("fork server", fork_server_->pid(), colour);
  server_err_lines_ = std::make_unique<observe::LinePrefixer>("fork server", fork_server_->pid(), colour);
  watch(fork_server_->poll_fd(), 2);
  if (server_out_) watch(server_out_.get(), 3);
  if (server_err_) watch(server_err_.get(), 4);
  return true;
}

void Node::on_server_ready(pid_t, bool) {
  server_is_ready_ = true;
  failed_starts_ = 0;
}

void Node::on_server_exit(const process::ServerExit& exit) {
  if (server_err_ && server_err_lines_ != nullptr) server_err_lines_->drain(server_err_.get(), err_);
  ended_fork_server_ = std::move(fork_server_);  // it is on the stack below us
  if (exit.expected || stopping_.load(std::memory_order_acquire)) return;
  constexpr int kFailedStartsMax = 20;
  if (!exit.was_ready && ++failed_starts_ > kFailedStartsMax) {
    err_.append("rayx: the fork server " + process::describe(exit.status) +
                " each time before it was ready; no worker can be started. Look at what static constructors of the "
                "program do\n");
    return;
  }
  start_again_ns_ = clock_.now_ns() + (exit.was_ready ? 0 : kStartAgain_ns);
}

// Asks the fork server for the process, now or when there is one that takes the request.
void Node::spawn(std::uint32_t slot) {
  const int fds[] = {arena_->fd(), eventfd_.get()};
  const std::string config = config_.worker_config(slot, modules_, config_.modules.size());
  process::WorkerRequest request;
  request.slot = slot;
  request.fds = fds;
  request.config = config;
  request.omp_threads = 1;
  if (fork_server_ == nullptr) {
    start_again_ns_ = std::min(start_again_ns_, clock_.now_ns());
    return;
  }
  if (!fork_server_->running()) return;  // on_server_exit follows
  if (is_short_of_processes_ && start_again_ns_ != base::kNever) return;
  Result<void> asked = fork_server_->spawn_worker(request);
  if (!asked) return start_failed(asked.error());
  WorkerProcess& worker = workers_.at(slot);
  worker.is_asked_for = true;
  // rayx::kill came when there was no fork server.
  if (worker.lane > kClassLanes && actors_[worker.lane - 1].was_killed) fork_server_->kill_worker(slot);
}

// Said once until one starts again; tried again after a pause.
void Node::start_failed(const Error& error) {
  if (!std::exchange(is_short_of_processes_, true))
    err_.append("rayx: a worker could not be started and is tried again: " + error.message + "\n");
  start_again_ns_ = std::min(start_again_ns_, clock_.now_ns() + kStartAgain_ns);
}

// ---- Their life

void Node::on_worker_started(process::WorkerStarted started) {
  const auto slot = static_cast<std::uint32_t>(started.slot);
  const auto found = workers_.find(slot);
  if (found == workers_.end()) return;
  WorkerProcess& worker = found->second;
  worker.stage = Stage::kRunning;
  worker.was_running = true;
  is_short_of_processes_ = false;
  worker.pid = started.pid;
  control_.slot(slot).pid.store(started.pid, std::memory_order_relaxed);
  worker.out = std::move(started.out);
  worker.err = std::move(started.err);
  const auto last = std::make_shared<observe::LastLines>();
  worker.out_lines = std::make_unique<observe::LinePrefixer>(worker.name, worker.pid, observe::wants_colour(1), last);
  worker.err_lines = std::make_unique<observe::LinePrefixer>(worker.name, worker.pid, observe::wants_colour(2), last);
  if (worker.out) watch(worker.out.get(), kWorkerOut | slot);
  if (worker.err) watch(worker.err.get(), kWorkerErr | slot);
  if (is_out_paused_ || is_err_paused_) listen_to_workers();
}

void Node::on_worker_failed(std::uint64_t slot_word, Error error) {
  const auto slot = static_cast<std::uint32_t>(slot_word);
  const auto found = workers_.find(slot);
  if (found == workers_.end() || found->second.stage == Stage::kDead) return;
  if (!stopping_.load(std::memory_order_acquire) && fork_server_ != nullptr && fork_server_->running())
    start_failed(error);
  write_note(slot, found->second, "was never started: " + error.message);
  announce_death(slot, found->second);
}

void Node::drain_rest(WorkerProcess& worker) {
  const auto take = [](base::UniqueFd& fd, observe::LinePrefixer* lines, observe::OutputWriter& to) {
    if (fd && lines != nullptr) lines->drain_rest(fd.get(), to);
    fd.reset();
  };
  take(worker.out, worker.out_lines.get(), out_);
  take(worker.err, worker.err_lines.get(), err_);
}

void Node::write_note(std::uint32_t slot, const WorkerProcess& worker, const std::string& how) {
  const std::uint32_t generation = control_.slot(slot).generation.load(std::memory_order_relaxed);
  std::string text = how;
  std::string stack;
  const auto& report = *static_cast<const observe::CrashReport*>(notes_.crash_report(slot));
  if (const auto crash = observe::read_crash_report(report, generation)) {
    stack = observe::encode_frames(crash->frames);
    text += observe::cause_of(*crash);
  }
  if (worker.err_lines != nullptr && !worker.err_lines->last_lines().empty()) {  // of both its pipes
    text += "\nIts last lines:\n" + observe::indent_lines(worker.err_lines->last_lines());
    if (text.ends_with('\n')) text.pop_back();
  }
  notes_.write(slot, generation, worker.pid, text, stack);
}

void Node::on_worker_exit(const process::WorkerExit& exit) {
  const auto slot = static_cast<std::uint32_t>(exit.slot);
  const auto found = workers_.find(slot);
  if (found == workers_.end() || found->second.stage == Stage::kDead) return;
  drain_rest(found->second);
  std::string how = process::describe(exit.status);
  if (!exit.entered) how += " in a static constructor of the program, before rayx could use it";
  write_note(slot, found->second, how);
  announce_death(slot, found->second);
}

void Node::announce_death(std::uint32_t slot, WorkerProcess& worker) {
  shm::ProcessSlot& shared = control_.slot(slot);
  worker.stage = Stage::kDead;
  worker.blocked = nullptr;
  worker.owned = shared.deaths_handled.load(std::memory_order_acquire) != UINT64_MAX;
  std::erase_if(leases_asked_, [&](const auto& asked) {
    return asked.second >= &shared.calls.cells[0] && asked.second < &shared.calls.cells[0] + shm::kNodeCallsMax;
  });
  const std::uint32_t lane = worker.lane;
  const bool is_actor = lane > kClassLanes && lane != shm::kLeaseLeave;
  bool may_replace = !worker.was_running;
  if (is_actor) {
    ActorLane& actor = actors_[lane - 1];
    // A process that never ran is replaced by another one, unless the actor has ended meanwhile.
    may_replace = may_replace && !actor.was_killed && !actor.is_released;
    if (!may_replace) {
      end_actor_lane(lane - 1, actor.was_killed      ? shm::LaneEnd::kKilled
                               : actor.is_maker_gone ? shm::LaneEnd::kMakerGone
                                                     : shm::LaneEnd::kCrashed);
      if (actor.killer != nullptr) reply(*std::exchange(actor.killer, nullptr), shm::NodeAnswer::kOk);
    }
  }
  control_.announce_death(slot);
  const base::TimeNs now = clock_.now_ns();
  scheduler_->died(slot, may_replace, now);
  if (is_actor && actors_[lane - 1].is_released) actors_[lane - 1].is_used = false;
  // Actors end with the process that made them.
  for (std::uint32_t other = kClassLanes; other < kLanes; ++other) {
    ActorLane& actor = actors_[other];
    if (!actor.is_used || actor.creator != slot || actor.is_released) continue;
    actor.is_maker_gone = true;
    release_actor(other, actor.generation);
  }
  look_again_ns_ = std::min(look_again_ns_, now);
}

// ---- What the dead leave

bool Node::is_record_live(const shm::BlockOwner& owner, shm::Offset offset) {
  if (owner.slot >= kProcesses || owner.record >= shm::kRecordsPerSlab * shm::kRecordSlabsMax) return false;
  const shm::ProcessSlot& slot = control_.slot(owner.slot);
  if (slot.life.load(std::memory_order_acquire) == ProcessLife::kFree) return false;
  const shm::Offset table = slot.record_slabs[owner.record / shm::kRecordsPerSlab].load(std::memory_order_acquire);
  if (table == shm::kNoOffset) return false;
  const shm::Record& record = control_.records_of(owner.slot).at(owner.record);
  if (shm::generation_of(record) != owner.generation) return false;
  const std::uint32_t state = record.state.load(std::memory_order_acquire);
  detail::BlockRef block;
  std::memcpy(&block, record.payload, sizeof(block));
  return (state & detail::kRecordStateMask) == detail::kRecordDoneBlock && block.offset == offset;
}

bool Node::is_live(const store::Lease& lease) {
  if (lease.is_slab) {
    return shm::Slab(control_.segment(), lease.extent.offset)
               .reconcile(lease.serial, [&](const shm::BlockOwner& owner, shm::Offset offset) {
                 return is_record_live(owner, offset);
               }) != 0;
  }
  const auto* header = control_.segment().at<shm::BlockHeader>(lease.extent.offset);
  const std::uint64_t name = header->name.load(std::memory_order_acquire);
  const std::uint64_t use = header->use.load(std::memory_order_acquire);
  constexpr std::uint64_t kHeaderBytes = 64;
  return is_record_live(
      {static_cast<std::uint32_t>(name >> 32), static_cast<std::uint32_t>(name), static_cast<std::uint32_t>(use >> 32)},
      lease.extent.offset + kHeaderBytes);
}

bool Node::can_bury(std::uint32_t slot, WorkerProcess& worker) {
  if (!control_.is_buried(slot)) return false;
  if (!worker.owned || RAYX_PLANTED_BUG(571)) return true;
  if (!control_.is_used_by_others(slot)) return true;
  if (!std::exchange(worker.is_told_of, true)) control_.tell_owners_of_holds(slot);
  control_.wake_who_knows_queues(slot);
  if (!RAYX_PLANTED_BUG(572)) release_needless_holds(control_, slot);
  return false;
}

void Node::bury() {
  const base::TimeNs now = clock_.now_ns();
  if (now < look_again_ns_) return;
  look_again_ns_ = base::kNever;
  for (auto it = workers_.begin(); it != workers_.end();) {
    const std::uint32_t slot = it->first;
    if (it->second.stage != Stage::kDead) {
      ++it;
      continue;
    }
    if (!can_bury(slot, it->second)) {
      look_again_ns_ = now + kLookAgain_ns;
      ++it;
      continue;
    }
    // The slot counts as alive for nobody: its records are not live, so its blocks and tables are freed.
    shm::ProcessSlot& shared = control_.slot(slot);
    if (it->second.owned) {
      for (auto& queue : shared.queue_of_lane) queue.store(shm::kNoOffset, std::memory_order_relaxed);
      for (auto& table : shared.record_slabs)
        if (table.load(std::memory_order_relaxed) != shm::kNoOffset)
          table.store(shm::kNoOffset, std::memory_order_relaxed);
    }
    control_.free_process(slot);
    shared.holds.chunks.store(0, std::memory_order_relaxed);
    desk_->release_all(slot, [&](const store::Lease& lease) { return is_live(lease); });
    it = workers_.erase(it);
  }
  if (desk_->has_orphans()) {
    desk_->release_orphans([&](const store::Lease& lease) { return is_live(lease); });
    if (desk_->has_orphans()) look_again_ns_ = std::min(look_again_ns_, now + kLookAgain_ns);
  }
}

// ---- What the scheduler wants

bool Node::has_work(sched::LaneId lane) {
  const shm::LaneState& state = control_.lane(lane).state();
  for (std::uint32_t group = 0; group < shm::kProcessesMax / 64; ++group) {
    std::uint64_t bits = state.submitters[group].load(std::memory_order_acquire);
    for (; bits != 0; bits &= bits - 1) {
      const std::uint32_t owner = group * 64 + static_cast<std::uint32_t>(std::countr_zero(bits));
      const shm::TaskQueue queue = control_.queue(owner, lane);
      if (queue.is_open() && queue.count_unclaimed() != 0) return true;
    }
  }
  return false;
}

std::uint64_t Node::count_work(sched::LaneId lane) {
  const shm::LaneState& state = control_.lane(lane).state();
  std::uint64_t count = 0;
  for (std::uint32_t group = 0; group < shm::kProcessesMax / 64; ++group) {
    std::uint64_t bits = state.submitters[group].load(std::memory_order_acquire);
    for (; bits != 0; bits &= bits - 1) {
      const shm::TaskQueue queue =
          control_.queue(group * 64 + static_cast<std::uint32_t>(std::countr_zero(bits)), lane);
      if (queue.is_open()) count += queue.count_unclaimed();
    }
  }
  return count;
}

bool Node::is_asleep(sched::WorkerId worker) {
  const auto found = workers_.find(worker);
  if (found == workers_.end() || found->second.lane == 0) return false;
  const shm::LaneState& state = control_.lane(found->second.lane - 1).state();
  std::uint64_t members = state.sleeping.load(std::memory_order_acquire);
  for (; members != 0; members &= members - 1)
    if (state.member_slot[std::countr_zero(members)].load(std::memory_order_relaxed) == worker) return true;
  return false;
}

std::optional<sched::WorkerId> Node::start_worker() {
  if (stopping_.load(std::memory_order_acquire)) return std::nullopt;
  const std::optional<std::uint32_t> slot = control_.add_process(config_.first_generation);
  if (!slot) return std::nullopt;
  WorkerProcess& worker = workers_[*slot];
  worker.name = "worker";
  spawn(*slot);
  return *slot;
}

void Node::grant(sched::WorkerId id, sched::LaneId lane) {
  WorkerProcess& worker = workers_.at(id);
  const int member = control_.lane(lane).add_member(id);
  RAYX_CHECK(member >= 0, "a lane has more executors than it can have", lane);
  worker.lane = lane + 1;
  if (lane >= kClassLanes) {
    worker.name = actors_[lane].name;
    control_.lane(lane).state().executor.store(id + 1, std::memory_order_release);
  }
  shm::ProcessSlot& slot = control_.slot(id);
  slot.lease.store(shm::LeaseWord::make(++worker.leases, lane), std::memory_order_seq_cst);
  slot.run_word.store(0, std::memory_order_seq_cst);
  shm::futex_wake(slot.run_word, 1);
}

void Node::revoke(sched::WorkerId id) {
  shm::ProcessSlot& slot = control_.slot(id);
  slot.lease.fetch_or(shm::LeaseWord::kTakenBack, std::memory_order_seq_cst);
  slot.run_word.store(0, std::memory_order_seq_cst);
  shm::futex_wake(slot.run_word, 1);
}

void Node::dismiss(sched::WorkerId id) {
  const auto found = workers_.find(id);
  if (found == workers_.end() || found->second.stage == Stage::kDead) return;
  found->second.is_dismissed = true;
  shm::ProcessSlot& slot = control_.slot(id);
  slot.lease.store(shm::kLeaseLeave, std::memory_order_seq_cst);
  slot.run_word.store(0, std::memory_order_seq_cst);
  shm::futex_wake(slot.run_word, 1);
}

bool Node::ask_to_leave(sched::WorkerId id) {
  // A large result that it made lies in memory that is leased to it, and belongs to others. Leases without a lessee are looked
  // at again and again.
  const auto is_of_others = [&](const store::Lease& lease) { return !lease.is_slab && is_live(lease); };
  if (desk_->has_lease(id, is_of_others)) return false;
  WorkerProcess& worker = workers_.at(id);
  shm::ProcessSlot& slot = control_.slot(id);
  slot.lease.store(shm::LeaseWord::make_leave(++worker.leases), std::memory_order_seq_cst);
  slot.run_word.store(0, std::memory_order_seq_cst);
  shm::futex_wake(slot.run_word, 1);
  return true;
}

void Node::set_served(sched::LaneId lane, bool is_served) {
  control_.lane(lane).state().is_served.store(is_served ? 1 : 0, std::memory_order_seq_cst);
}

void Node::report_worker_limit(sched::WorkerId id) {
  WorkerProcess& worker = workers_.at(id);
  if (worker.blocked == nullptr) return;
  shm::NodeCall& call = *std::exchange(worker.blocked, nullptr);
  const std::uint64_t owner = call.arguments[0];
  const std::uint64_t record = call.arguments[1];
  reply(call, shm::NodeAnswer::kWorkerLimit, static_cast<std::uint64_t>(config_.max_workers));
  scheduler_->resumed(id, clock_.now_ns());
  // It sleeps on the record that it waits for, or on its own count of completions; or it is about to, and finds another word.
  if (owner < kProcesses && record != UINT32_MAX) {
    std::atomic<std::uint32_t>& state =
        control_.records_of(static_cast<std::uint32_t>(owner)).at(static_cast<std::uint32_t>(record)).state;
    state.fetch_and(~std::uint32_t{detail::kRecordWaiters}, std::memory_order_seq_cst);
    shm::futex_wake(state, INT32_MAX);
  } else {
    control_.call_service(id);
  }
}

void Node::report_no_process(sched::LaneId lane) {
  end_actor_lane(lane, shm::LaneEnd::kNoProcess);
  ActorLane& actor = actors_[lane];
  if (actor.killer != nullptr) reply(*std::exchange(actor.killer, nullptr), shm::NodeAnswer::kOk);
}

}  // namespace rayx::node

#include "slab_world.hpp"

#include <unistd.h>

#include <chrono>
#include <memory>
#include <mutex>
#include <set>

#include "kit/child_process.hpp"
#include "slab_participant.hpp"
#include "store/extent_map.hpp"

#include "base/deadline.hpp"

namespace rayx::base {
namespace {
void ignore_kill_point(const char*) {}
}  // namespace
void (*on_kill_point)(const char*) = ignore_kill_point;
}  // namespace rayx::base

namespace rayx::shm::test {
namespace {

struct PointCounter {
  std::mutex mutex;
  std::map<std::string, std::uint64_t> passed;
};

// What the kill point handler of the victim needs. Thread-local: in thread mode only the victim's thread has it.
struct Victim {
  Participant* self = nullptr;
  Mode mode = Mode::kProcesses;
  std::string point;
  std::uint32_t left = 0;
  PointCounter* counter = nullptr;
};
thread_local Victim* g_victim = nullptr;

void at_kill_point(const char* name) {
  Victim* victim = g_victim;
  if (victim == nullptr) return;
  if (victim->counter != nullptr) {
    std::lock_guard lock(victim->counter->mutex);
    ++victim->counter->passed[name];
  }
  if (victim->point != name || --victim->left != 0) return;
  victim->self->was_killed.store(1, std::memory_order_relaxed);
  if (victim->mode == Mode::kProcesses) ::_exit(9);
  victim->self->life.store(kDead, std::memory_order_release);
  while (true) ::pause();  // The thread is detached and never comes back, as a killed process does not.
}

// The node's part, in the test's own thread.
class Node {
 public:
  Node(const Arena& arena, World& world, const SlabPlan& plan, SlabOutcome& outcome)
      : arena_(arena),
        world_(world),
        participants_(static_cast<std::uint32_t>(plan.participants)),
        outcome_(outcome),
        map_(arena.store_begin(), arena.store_bytes()) {}

  // Leases what is wanted, takes back what is handed back, buries whoever is dead, looks after what the dead have left.
  void look_around() {
    for (std::uint32_t i = 0; i < participants_; ++i) {
      if (life_of(i) == kRuns) serve(i);
      if (life_of(i) == kDead && (buried_ >> i & 1) == 0) bury(i);
    }
    if (map_.has_orphans()) release_orphans();
  }

  // After everybody has ended: what the survivors' records name is all that may be left; when the test frees that too, as their
  // owners would, the whole store must be free.
  void check_the_end() {
    check_that_no_block_is_lost();
    for (std::uint32_t i = 0; i < participants_; ++i)
      if ((buried_ >> i & 1) == 0) bury(i);
    release_orphans();
    std::set<Offset> named;
    visit_done([&](const BlockOwner&, TestRecord& record) {
      if (!named.insert(record.offset.load(std::memory_order_relaxed)).second)
        problem("a block is named by two live records");
    });
    std::uint64_t left = 0;
    map_.visit_leases([&](const store::Lease& lease) {
      left += Slab(arena_.segment(), lease.extent.offset).count_left(lease.serial);
    });
    if (left != named.size())
      problem("live records name " + std::to_string(named.size()) + " blocks, but " + std::to_string(left) +
              " are not free");
    visit_done([&](const BlockOwner& owner, TestRecord& record) {
      const Offset offset = record.offset.load(std::memory_order_relaxed);
      const Slab slab(arena_.segment(), offset);
      if (map_.find(slab.base()) == nullptr) return problem("a slab with a live block was given away");
      slab.free_remote(offset, owner);
      record.state.store(kFree, std::memory_order_relaxed);
    });
    release_orphans();
    if (map_.leased_bytes() != 0) problem(std::to_string(map_.leases()) + " slabs are leaked");
    if (!map_.is_valid()) problem("the extent map is not valid");
  }

 private:
  std::uint32_t life_of(std::uint32_t slot) const {
    return world_.participants[slot].life.load(std::memory_order_acquire);
  }

  // A process that ended by itself has lost nothing: each of its blocks is free, marked free, or named by a record. The node's
  // `reconcile` would find such a block after all, so this looks first.
  void check_that_no_block_is_lost() {
    map_.visit_leases([&](const store::Lease& lease) {
      const Slab slab(arena_.segment(), lease.extent.offset);
      if (lease.lessee == store::kNobody || life_of(lease.lessee) != kEnded || !slab.is_formatted(lease.serial)) return;
      for (std::uint32_t i = 0; i < slab.blocks(); ++i) {
        if (slab.use_of(i) == BlockUse::kFree || slab.is_marked_free(i)) continue;
        const BlockOwner owner = slab.owner_of(i);
        // An owner that died after its lessee had looked for the last time is the node's to clear up.
        if (life_of(owner.slot) == kDead || is_named(owner, slab.offset_of(i))) continue;
        problem("a block of a process that lives is in use, but no record names it");
      }
    });
  }
  bool is_named(const BlockOwner& owner, Offset offset) const {
    const TestRecord& record = world_.participants[owner.slot].records[owner.record];
    return record.state.load(std::memory_order_acquire) == kDone &&
           record.generation.load(std::memory_order_relaxed) == owner.generation &&
           record.offset.load(std::memory_order_relaxed) == offset;
  }

  template <class Visit>
  void visit_done(Visit&& visit) {
    for (std::uint32_t slot = 0; slot < participants_; ++slot) {
      if (life_of(slot) == kDead) continue;
      for (std::uint32_t i = 0; i < kRecords; ++i) {
        TestRecord& record = world_.participants[slot].records[i];
        if (record.state.load(std::memory_order_acquire) != kDone) continue;
        visit(BlockOwner{slot, i, record.generation.load(std::memory_order_relaxed)}, record);
      }
    }
  }

  void bury(std::uint32_t dead) {
    buried_ |= 1u << dead;
    std::vector<store::LeaseAnswer> answers;
    map_.release_all(
        dead, [&](const store::Lease& lease) { return is_needed(lease); }, 0, answers);
  }
  void release_orphans() {
    const std::size_t before = map_.leases();
    std::vector<store::LeaseAnswer> answers;
    map_.release_orphans([&](const store::Lease& lease) { return is_needed(lease); }, 0, answers);
    outcome_.slabs_released += before - map_.leases();
  }

  void serve(std::uint32_t slot) {
    Participant& participant = world_.participants[slot];
    std::vector<store::LeaseAnswer> answers;
    for (Mail& mail : participant.to_node) {
      if (mail.serial.load(std::memory_order_acquire) == 0) continue;
      const Offset base = mail.offset.load(std::memory_order_relaxed);
      mail.serial.store(0, std::memory_order_release);
      if (!map_.release(base, 0, answers)) problem("a slab was given back that nobody had leased");
      ++outcome_.slabs_released;
    }
    if (participant.wants_slabs.load(std::memory_order_acquire) == 0) return;
    send_slab(slot);
    participant.wants_slabs.store(0, std::memory_order_release);
  }

  void send_slab(std::uint32_t slot) {
    Participant& participant = world_.participants[slot];
    std::vector<store::LeaseAnswer> answers;
    map_.request({0, slot, kSlabBytes, {}, true, 0}, 0, answers);
    if (answers.empty() || answers[0].outcome != store::LeaseOutcome::kGranted) return;  // all is in use: it asks again
    for (Mail& mail : participant.to_process) {
      if (mail.serial.load(std::memory_order_acquire) != 0) continue;
      mail.offset.store(answers[0].lease.extent.offset, std::memory_order_relaxed);
      mail.serial.store(answers[0].lease.serial, std::memory_order_release);
      return;
    }
    if (!map_.release(answers[0].lease.extent.offset, 0, answers)) problem("a lease disappeared");
  }

  bool is_needed(const store::Lease& lease) {
    const Slab slab(arena_.segment(), lease.extent.offset);
    return slab.reconcile(lease.serial, [&](const BlockOwner& owner, Offset offset) {
      if (owner.slot >= participants_ || owner.record >= kRecords) {
        problem("a block's header names no record");
        return false;
      }
      return life_of(owner.slot) != kDead && is_named(owner, offset);
    }) != 0;
  }

  void problem(const std::string& text) { outcome_.problems.push_back(text); }

  const Arena& arena_;
  World& world_;
  std::uint32_t participants_;
  SlabOutcome& outcome_;
  store::ExtentMap map_;
  std::uint32_t buried_ = 0;
};

template <class Body>
void run_processes(const SlabPlan& plan, World& world, Node& node, SlabOutcome& outcome, Body& body) {
  std::vector<std::unique_ptr<kit::ChildProcess>> children;
  for (int i = 0; i < plan.participants; ++i)
    children.push_back(std::make_unique<kit::ChildProcess>([&body, i] { return body(i); }));
  const base::Deadline deadline(std::chrono::seconds(30));
  for (int running = plan.participants; running > 0 && !deadline.has_passed();) {
    running = 0;
    for (int i = 0; i < plan.participants; ++i) {
      Participant& participant = world.participants[i];
      if (participant.life.load(std::memory_order_acquire) != kRuns) continue;
      const auto status = children[static_cast<std::size_t>(i)]->wait(std::chrono::milliseconds(0));
      if (!status) {
        ++running;
      } else if (participant.life.load(std::memory_order_acquire) == kRuns) {
        if (!status->exited_with(9)) outcome.problems.push_back("process " + std::to_string(i) + " " + status->text());
        participant.life.store(kDead, std::memory_order_release);
      }
    }
    node.look_around();
    std::this_thread::yield();
  }
  for (auto& child : children)
    if (!child->wait(std::chrono::seconds(10))) outcome.problems.push_back("a process did not end: " + child->text());
}

template <class Body>
void run_threads(const SlabPlan& plan, World& world, Node& node, Body& body) {
  std::vector<std::thread> threads;
  for (int i = 0; i < plan.participants; ++i) threads.emplace_back([body, i] { body(i); });
  for (int running = plan.participants; running > 0;) {
    running = 0;
    for (int i = 0; i < plan.participants; ++i)
      running += world.participants[i].life.load(std::memory_order_acquire) == kRuns;
    node.look_around();
    std::this_thread::yield();
  }
  for (int i = 0; i < plan.participants; ++i) {
    std::thread& thread = threads[static_cast<std::size_t>(i)];
    world.participants[i].life.load(std::memory_order_acquire) == kDead ? thread.detach() : thread.join();
  }
}

SlabOutcome run_counted(const SlabPlan& plan, PointCounter* counter) {
  SlabOutcome outcome;
  auto arena = std::make_shared<Arena>(
      Arena::create({.control_bytes = sizeof(World), .store_bytes = 12 << 20, .refuse_beyond = {}}).value());
  auto& world = *reinterpret_cast<World*>(arena->writable(0));
  for (Participant& participant : world.participants)
    for (TestRecord& record : participant.records) record.generation.store(1, std::memory_order_relaxed);
  base::on_kill_point = at_kill_point;

  // A stopped thread keeps its copy of this, and so the arena, for ever.
  auto body = [plan, counter, arena, &world](int me) {
    Victim victim{&world.participants[me], plan.mode, plan.point, plan.nth, counter};
    if (me == 0) g_victim = &victim;
    Process(*arena, world, me, plan).run();
    g_victim = nullptr;
    world.participants[me].life.store(kEnded, std::memory_order_release);
    return 0;
  };
  Node node(*arena, world, plan, outcome);
  if (plan.mode == Mode::kProcesses) {
    run_processes(plan, world, node, outcome, body);
  } else {
    run_threads(plan, world, node, body);
  }
  node.look_around();
  outcome.victim_was_killed = world.participants[0].was_killed.load(std::memory_order_relaxed) != 0;
  for (int i = 0; i < plan.participants; ++i) {
    const Participant& participant = world.participants[i];
    outcome.blocks_freed += participant.freed.load(std::memory_order_relaxed);
    if (participant.problem_count.load(std::memory_order_relaxed) != 0)
      outcome.problems.emplace_back(participant.problem);
  }
  node.check_the_end();
  return outcome;
}

}  // namespace

SlabOutcome run(const SlabPlan& plan) { return run_counted(plan, nullptr); }

std::map<std::string, std::uint64_t> kill_points(std::uint64_t seed) {
  PointCounter counter;
  SlabPlan plan;
  plan.mode = Mode::kThreads;
  plan.seed = seed;
  run_counted(plan, &counter);
  return counter.passed;
}

}  // namespace rayx::shm::test

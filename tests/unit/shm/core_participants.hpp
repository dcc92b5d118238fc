// The owners and executors of the core world, and what they share with the test.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <deque>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core_world.hpp"
#include "shm/control.hpp"
#include "shm/executor.hpp"

namespace rayx::shm::test {

inline constexpr std::uint32_t kLane = 3;
inline constexpr std::uint32_t kSlots = 32;
inline constexpr std::uint32_t kPointsMax = 128;
inline constexpr std::uint32_t kHoldChunks = 2;  // for each process

// What the participants tell the test, in memory that outlives them.
struct Shared {
  struct Participant {
    std::atomic<std::uint32_t> killed;    // it reached its kill point
    std::atomic<std::uint32_t> finished;  // owner: all results were right and all records are free again
    std::atomic<std::uint64_t> done;
    std::atomic<std::uint64_t> executions;
    std::atomic<std::uint64_t> objects_freed;
    std::atomic<std::uint32_t> problems;
    char problem[200];  // the first one
  };
  Participant participants[kSlots];
  std::atomic<std::uint32_t> stop;
  // Coverage: names and counts of the kill points that were passed, when asked for.
  std::atomic<const char*> point_names[kRoles][kPointsMax];  // literals: the same address in every forked participant
  std::atomic<std::uint64_t> point_counts[kRoles][kPointsMax];
};

// What a thread has to know when it passes a kill point.
struct Here {
  Shared* shared = nullptr;
  Shared::Participant* participant = nullptr;
  Role role = Role::kExecutor;
  bool collect = false;
  bool is_thread = false;
  const char* target = nullptr;
  std::atomic<std::uint32_t>* countdown = nullptr;
  // Threads of an owner: who stops takes this with him, so that the owner's other thread stops too.
  std::mutex* mutex = nullptr;
  bool has_mutex = false;
};
extern thread_local Here here;

void at_kill_point(const char* name);

struct Memory {
  Segment segment;
  Control control;
  // One of each for each process slot.
  std::vector<Offset> slabs;
  std::vector<Offset> queues;
  std::vector<Offset> chunks;  // kHoldChunks of them, one behind the other
};

// Holds on objects of others, and the look whether they are still what their keys name.
class Holder {
 public:
  Holder(const Memory& memory, Shared::Participant& said, std::uint32_t me)
      : memory_(memory), control_(memory.control), said_(said), me_(me), table_(memory.segment, slot().holds) {}

  // Something else must protect the object. False: the table is full.
  bool take(ObjectKey key);
  void let_go(ObjectKey key);
  void check(ObjectKey key) const;
  void problem(const std::string& what) const;

 private:
  ProcessSlot& slot() const { return control_.slot(me_); }

  const Memory& memory_;
  Control control_;
  Shared::Participant& said_;
  std::uint32_t me_;
  HoldTable table_;
};

// What is written into objects.
struct ObjectValue {
  std::uint64_t value;
  std::uint64_t key;
  static ObjectValue of(ObjectKey key);
};

enum class TaskKind : std::uint32_t {
  kPlain,
  kSlow,
  kBorrow,    // takes a hold on an object of its owner and keeps it for a while
  kLend,      // its result holds a reference to some object that its executor holds
  kNeeds,     // reads the result of a task that was queued before
  kGiveBack,  // is given back the first time
};

struct TaskArguments {
  std::uint64_t number;
  TaskKind kind;
  std::uint32_t reserved;
  std::uint64_t key;           // of the object, or of the record that it needs
  std::uint64_t needs_number;  // of the task that makes that record
};
static_assert(sizeof(TaskArguments) <= kCellInlineBytes);

struct TaskResult {
  std::uint64_t result;
  std::uint64_t number;
  std::uint64_t lent;  // key of an object, or 0
};
static_assert(sizeof(TaskResult) <= detail::kRecordInlineBytes);

std::uint64_t expected_result(std::uint32_t owner, std::uint64_t number);

void run_executor(const Memory& memory, Shared& shared, std::uint32_t me, int member);

class Owner {
 public:
  Owner(const Memory& memory, const Plan& plan, Shared& shared, std::uint32_t me);
  void run();

 private:
  using Index = std::uint32_t;
  static constexpr Index kNone = UINT32_MAX;
  static constexpr std::size_t kObjects = 8;  // that tasks are given at the same time

  struct Meta {
    enum class Use { kFree, kTask, kObject };
    Use use = Use::kFree;
    std::uint32_t refs = 0;
    std::uint64_t function_and_flags = 0;  // the attempt
    TaskArguments arguments{};
    Index needs = kNone;  // the record that `arguments.key` names: this task keeps it
    bool is_shared = false;
    bool is_adopted = false;
    bool wants_notice = false;
    std::atomic<bool> noticed{false};
  };

  // Everything of the owner that is not atomic.
  class Lock {
   public:
    explicit Lock(std::mutex& mutex) : lock_(mutex) { here.has_mutex = true; }
    ~Lock() { here.has_mutex = false; }

   private:
    std::unique_lock<std::mutex> lock_;
  };

  ObjectKey key_of(Index index) const { return ObjectKey::make(me_, index, records_.at(index).generation); }
  Index take_record(Meta::Use use);
  void submit_up_to_window();
  void submit_one();
  bool push_cell(Index index);
  void push(Index index);
  void flush_backlog();
  void take_oldest();
  void rest();
  void put_object(std::size_t place);
  void drop_ref(Index index);
  void try_free(Index index);
  void free_record(Index index);
  void adopt(Index index);
  void let_go_of_adopted(std::size_t keep);
  void on_completed(Index index);
  void take_returned(Index index);
  void serve();
  void take_back_from(std::uint32_t dead);

  Control control_;
  const Plan& plan_;
  Shared::Participant& said_;
  std::uint32_t me_;
  Records records_;
  Holder holder_;
  TaskQueue queue_;
  std::uint64_t tail_ = 0;
  std::mutex mutex_;
  std::vector<Index> free_;
  std::deque<Index> in_flight_;
  std::deque<Index> backlog_;
  std::multimap<Index, Index> returned_;  // record that is needed -> task that was given back
  std::deque<ObjectKey> adopted_;         // references that came with results; this process's own objects among them
  std::array<Index, kObjects> objects_{};
  std::uint64_t submitted_ = 0;
  std::uint64_t taken_ = 0;
  Meta meta_[kRecordsPerSlab];
  std::atomic<bool> stopping_{false};
  std::atomic<bool> has_served_{false};
};

}  // namespace rayx::shm::test

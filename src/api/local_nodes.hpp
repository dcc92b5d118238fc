// The objects of a LocalBackend: cells, records and blocks in ordinary memory.
#pragma once

#include <atomic>
#include <deque>
#include <memory>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "rayx/detail/backend.hpp"

namespace rayx::detail {

struct LocalNode;

struct LocalActor {
  std::recursive_mutex mutex;  // one call at a time; an actor may call itself
  void* instance = nullptr;
  void (*destroy)(void*) = nullptr;
  std::string class_name;             // or ActorOptions::name: for errors
  std::string name;                   // by which it is found; empty: by none
  std::string_view type;              // FunctionInfo::class_name
  std::string died_of;                // empty: alive
  int running = 0;                    // calls on the stack, which keep the instance
  bool is_kept = false;               // it is detached: one count of the node until kill()
  std::vector<LocalNode*> own_calls;  // that it has made of itself; one count each, until the outermost call has ended
};

// One object, task result or actor.
struct LocalNode {
  RefCell cell;  // first: the cell's address is the node's
  Record record;
  Block block;
  std::vector<RefCell*> contained;  // one count of each reference inside the value
  std::unique_ptr<LocalActor> actor;
  // A call that an actor has made of itself has run, but counts as pending until the call that made it has ended, as it is with
  // processes: then `record` gets this state. 0: it has it.
  std::atomic<std::uint32_t> hidden_state{0};
  std::thread::id hidden_by;
  bool is_from_outside = false;  // not done when it was made: what another thread will publish
  std::uint32_t index = 0;
  std::uint32_t generation = 1;

  static LocalNode* of(RefCell* cell) noexcept { return reinterpret_cast<LocalNode*>(cell); }
};

// All nodes of the process, of all its runtimes: never freed, as references may outlive their runtime. Any thread.
class LocalPool {
 public:
  static LocalPool& instance();
  LocalNode* take(std::uint32_t runtime);
  void give_back(LocalNode* node);
  // The node with one more count, if it is the one that was named.
  LocalNode* find_and_count(std::uint32_t index, std::uint32_t generation, std::uint32_t runtime);
  // Those of the runtime that are in use.
  std::vector<LocalNode*> live(std::uint32_t runtime);

 private:
  std::mutex mutex_;
  std::deque<LocalNode> nodes_;  // addresses stay
  std::vector<LocalNode*> free_;
};

}  // namespace rayx::detail

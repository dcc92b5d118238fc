// What one of the driver's threads does with actors: it makes, calls, passes, kills and drops them.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <rayx/rayx.hpp>

#include "story.hpp"

namespace rayx::sim {
namespace {

class Tally {
 public:
  Tally(int actor, const std::string& ballast) : actor_(actor), ballast_(ballast.size()) {
    instance_ = g_scene->story.instance_begins(actor);
  }
  // The calls of one caller are numbered from 1.
  int count(std::int64_t work_ns, int caller, int number, const std::string& ballast) {
    g_scene->story.call_begins(actor_, instance_, caller, number, g_scene->has_large_values);
    if (work_ns != 0) g_scene->machine.rest(work_ns);
    ballast_ += ballast.size();
    return number;
  }
  void crash() {
    Machine& machine = g_scene->machine;
    machine.kill(machine.process());
  }

 private:
  const int actor_;
  int instance_ = 0;
  std::size_t ballast_;
};

struct Counted {
  int expected = 0;
  ObjectRef<int> ref;
};

std::int64_t some_work() {
  Chance& chance = g_scene->chance;
  return chance.one_in(4) ? chance.between(0, 2 * kMillisecond) : 0;
}

std::vector<Counted> count_up(const ActorHandle<Tally>& tally, int caller, int& number, int calls) {
  Chance& chance = g_scene->chance;
  std::vector<Counted> counted;
  for (int i = 0; i < calls; ++i) {
    ++number;
    const bool is_large = g_scene->has_large_values && chance.one_in(20);
    const std::string ballast(is_large ? 300'000 : chance.below(200), 'b');
    counted.push_back({number, chance.one_in(4) ? tally.call<&Tally::count>(some_work(), caller, number, put(ballast))
                                                : tally.call<&Tally::count>(some_work(), caller, number, ballast)});
  }
  return counted;
}

// A task that calls and passes the handle on.
int count_there(const ActorHandle<Tally>& tally, int calls, int depth) {
  const TaskRun task;
  const int caller = g_scene->story.new_caller();
  int number = 0;
  const std::vector<Counted> counted = count_up(tally, caller, number, calls);
  int below = 0;
  if (depth > 0) below = get(remote<count_there>(TaskOptions{.max_retries = 0}, tally, calls, depth - 1));
  for (const Counted& it : counted)
    if (get(it.ref) != it.expected) g_scene->story.fail("a call has the result of another one");
  return calls + below;
}

class Actors final : public ActorProgram {
 public:
  explicit Actors(int thread) : thread_(thread) {}
  void one_step() override;
  void check_all() override;
  void finish() override {
    check_all();
    actors_.clear();
  }

 private:
  struct Actor {
    ActorHandle<Tally> handle;
    int id = 0;
    int number = 0;  // of this thread's calls
    int losses = 0;  // when it was made
    int failed_starts = 0;
    bool is_killed = false;
    bool has_answered = false;  // so the head knows it
    std::string name;
  };
  struct Called {
    Counted counted;
    std::shared_ptr<Actor> actor;
    int losses = 0;
  };
  std::size_t pick(std::size_t below) { return g_scene->chance.below(below); }
  void make();

  const int thread_;
  std::vector<std::shared_ptr<Actor>> actors_;
  std::vector<Called> called_;
};

void Actors::make() {
  const auto made = std::make_shared<Actor>();
  made->losses = g_scene->story.losses();
  made->failed_starts = g_scene->story.failed_starts();
  ActorOptions options;
  const bool is_placed = g_scene->has_head;
  // All that there are leave each node CPUs for a task: what an actor of the program's own keeps is not waited for.
  if (is_placed && g_scene->cpus_min > 1 && pick(3) == 0) options.num_cpus = 0.05;
  if (is_placed && pick(3) == 0) options.max_restarts = 1 + static_cast<int>(pick(3));
  if (options.max_restarts != 0 && pick(2) == 0) options.max_task_retries = 1 + static_cast<int>(pick(2));
  const int id = g_scene->story.new_actor(options.max_restarts, options.max_task_retries);
  made->id = id;
  if (is_placed && pick(3) == 0) options.name = made->name = "actor " + std::to_string(id);
  g_scene->machine.log("makes actor %d: restarts %d, retries %d, name '%s'", id, options.max_restarts,
                       options.max_task_retries, options.name.c_str());
  const std::string ballast(pick(4) == 0 ? 5'000 : 10, 'b');
  made->handle = pick(2) == 0 ? actor<Tally>(options, id, ballast) : actor<Tally>(options, id, put(ballast));
  ++g_scene->counts.actors;
  actors_.push_back(made);
}

void Actors::one_step() {
  const std::size_t what = pick(100);
  if (actors_.empty() || (what < 12 && actors_.size() < 5)) return make();
  const std::size_t place = pick(actors_.size());
  const std::shared_ptr<Actor> actor = actors_[place];
  const int losses = g_scene->story.losses();
  if (what < 55) {
    g_scene->machine.log("calls actor %d from %d on", actor->id, actor->number + 1);
    for (Counted& it : count_up(actor->handle, -1 - thread_, actor->number, 1 + static_cast<int>(pick(8))))
      called_.push_back({std::move(it), actor, losses});
  } else if (what < 75) {
    const int calls = 1 + static_cast<int>(pick(5));
    const int depth = static_cast<int>(pick(2));
    g_scene->machine.log("a task calls actor %d", actor->id);
    called_.push_back({{calls * (depth + 1), remote<count_there>(TaskOptions{.max_retries = static_cast<int>(pick(2))},
                                                                 actor->handle, calls, depth)},
                       actor,
                       losses});
  } else if (what < 79) {
    actor->is_killed = true;
    g_scene->machine.log("kills actor %d", actor->id);
    ++g_scene->counts.actors_killed;
    if (pick(2) == 0) {
      kill(actor->handle);
    } else {
      static_cast<void>(actor->handle.call<&Tally::crash>());
    }
  } else if (what < 84 && !actor->name.empty()) {
    try {
      const ActorHandle<Tally> found = get_actor<Tally>(actor->name);
      ++g_scene->counts.found_by_name;
      int number = 0;
      for (Counted& it : count_up(found, g_scene->story.new_caller(), number, 2))
        called_.push_back({std::move(it), actor, losses});
    } catch (const Exception& error) {
      if (error.code() == ErrorCode::kNotFound &&
          (!actor->has_answered || actor->is_killed || g_scene->story.has_lost_since(actor->losses) ||
           g_scene->story.may_have_no_process_since(actor->failed_starts)))
        return;
      g_scene->story.fail(std::string("an actor is not found by its name: ") + error.what());
    }
  } else if (what < 92) {
    g_scene->machine.log("drops actor %d", actor->id);
    actors_.erase(actors_.begin() + static_cast<std::ptrdiff_t>(place));
  } else {
    check_all();
  }
}

void Actors::check_all() {
  for (const Called& called : std::exchange(called_, {})) {
    g_scene->machine.log("waits for %d of actor %d", called.counted.expected, called.actor->id);
    try {
      if (get(called.counted.ref) != called.counted.expected) g_scene->story.fail("a call has a wrong result");
      called.actor->has_answered = true;
    } catch (const Exception& error) {
      ++g_scene->counts.lost_calls;
      // A node whose store is full cannot begin an actor either; and one that has no room for the reason tells only its first bytes.
      const std::string_view why = error.what();
      const bool is_full = error.code() == ErrorCode::kStoreFull || why.size() < detail::kRecordInlineBytes ||
                           why.find("object store is full") != std::string_view::npos ||
                           why.find("found no memory here") != std::string_view::npos;
      if (is_full && g_scene->has_large_values) continue;
      const bool is_loss = error.code() == ErrorCode::kActorDied || error.code() == ErrorCode::kWorkerDied ||
                           error.code() == ErrorCode::kOwnerDied || error.code() == ErrorCode::kObjectLost;
      const bool may_be = called.actor->is_killed || g_scene->story.has_lost_since(called.actor->losses) ||
                          g_scene->story.may_have_no_process_since(called.actor->failed_starts);
      if (!is_loss || !may_be)
        g_scene->story.fail("a call fails with what nothing explains (code " +
                            std::to_string(static_cast<int>(error.code())) + "): " + error.what());
    }
  }
}

}  // namespace

std::unique_ptr<ActorProgram> make_actor_program(int thread) { return std::make_unique<Actors>(thread); }

}  // namespace rayx::sim

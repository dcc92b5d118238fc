// What the program of a simulated job does in one of its driver's threads: by chance it submits, passes, waits for and drops, and
// checks what comes.
#include <algorithm>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <rayx/rayx.hpp>

#include "story.hpp"

namespace rayx::sim {

namespace {

struct Thing {
  int id = 0;
  std::vector<ObjectRef<Thing>> children;
  std::string payload;
};

// ---- What runs in the workers

class Begun : public TaskRun {
 public:
  explicit Begun(const Step& step);
};

Begun::Begun(const Step& step) {
  g_scene->story.begins(step);
  if (step.work_ns != 0) g_scene->machine.rest(step.work_ns);
}

int add(Step step, int a, int b) {
  const Begun task(step);
  return a + b;
}
int add_all(Step step, const std::vector<int>& steps, int a) {
  const Begun task(step);
  std::vector<ObjectRef<int>> parts;
  for (const int id : steps) parts.push_back(remote<add>(Step{id, step.work_ns / 4}, a, 1));
  int sum = 0;
  for (const ObjectRef<int>& part : parts) sum += get(part);
  return sum;
}
ObjectRef<Thing> put_there(Step step, const Thing& thing) {
  const Begun task(step);
  return put(thing);
}
Thing return_there(Step step, int id, std::vector<ObjectRef<Thing>> children, std::size_t payload) {
  const Begun task(step);
  return {id, std::move(children), std::string(payload, 'p')};
}
// As a task whose result it is: not there yet when the reference leaves.
ObjectRef<Thing> begin_there(Step step, int inner, int id, const std::vector<ObjectRef<Thing>>& children,
                             std::size_t payload) {
  const Begun task(step);
  return remote<return_there>(Step{inner, step.work_ns}, id, children, payload);
}
std::vector<ObjectRef<Thing>> turn_around(Step step, std::vector<ObjectRef<Thing>> refs) {
  const Begun task(step);
  return {refs.rbegin(), refs.rend()};
}
// Follows the path of children and says where it ends.
int follow(Step step, ObjectRef<Thing> at, const std::vector<std::size_t>& path) {
  const Begun task(step);
  Thing thing = get(at);
  for (const std::size_t next : path) thing = get(thing.children[next % thing.children.size()]);
  return thing.id + static_cast<int>(thing.payload.size());
}
int follow_value(Step step, const Thing& thing, std::vector<std::size_t> path) {
  if (path.empty()) {
    const Begun task(step);
    return thing.id + static_cast<int>(thing.payload.size());
  }
  const ObjectRef<Thing> next = thing.children[path.front() % thing.children.size()];
  path.erase(path.begin());
  return follow(step, next, path);
}

// ---- The driver's thread

class Program {
 public:
  explicit Program(int number);
  void run();

 private:
  struct Known {  // what a thing must look like
    std::vector<int> children;
    std::size_t payload = 0;
  };
  struct Held {
    int id = 0;
    ObjectRef<Thing> ref;
    int losses = 0;  // when it, or what it was made from, was made
    int task = 0;    // whose result it is; 0: of none
  };
  struct Asked {
    ObjectRef<int> ref;
    int expected = 0;
    int task = 0;
    int losses = 0;         // when the first of what it needs was made
    bool is_alone = false;  // it needs no other result: only the loss of its own attempts explains an error
  };

  void one_step();
  void check(const Asked& asked);
  template <class T>
  bool get_into(const ObjectRef<T>& ref, T& value, int task, int losses, bool is_alone = false);
  std::size_t payload();
  std::vector<ObjectRef<Thing>> some(std::vector<int>& ids, std::size_t max, int& losses);
  Step step(int& retries);
  std::size_t pick(std::size_t below);

  Scene& world_ = *g_scene;
  const int number_;
  int last_id_;
  std::map<int, Known> known_;
  std::vector<Held> pool_;
  std::vector<Asked> asked_;
};

Program::Program(int number) : number_(number), last_id_(number * 1'000'000) {}

std::size_t Program::pick(std::size_t below) { return world_.chance.below(below); }

std::size_t Program::payload() {
  constexpr std::size_t kSizes[] = {0, 0, 5, 30, 200, 5'000, 40'000};
  if (world_.has_large_values && pick(6) == 0) return 300'000 + pick(400'000);
  return kSizes[pick(std::size(kSizes))];
}

Step Program::step(int& retries) {
  constexpr int kRetries[] = {3, 3, 0, 1, 10};
  retries = kRetries[pick(std::size(kRetries))];
  ++world_.counts.tasks;
  Chance& chance = world_.chance;
  return world_.story.submit(retries,
                             chance.one_in(3) ? chance.between(0, 5 * kMillisecond) : chance.between(0, 50'000));
}

void Program::run() {
  const std::size_t steps = 40 + pick(60);
  const std::unique_ptr<ActorProgram> actors = make_actor_program(number_);
  const std::size_t kind = pick(3);            // 0: tasks, 1: actors, 2: both
  constexpr std::uint64_t kEventsMin = 2'000;  // of a seed
  for (std::size_t i = 0; i < steps || world_.events < kEventsMin; ++i) {
    if (kind == 1 || (kind == 2 && pick(2) == 0)) {
      actors->one_step();
    } else {
      one_step();
    }
    if (pick(3) == 0) world_.machine.rest(world_.chance.between(0, 3 * kMillisecond));
  }
  for (const Asked& asked : asked_) check(asked);
  asked_.clear();
  pool_.clear();
  actors->finish();
}

std::vector<ObjectRef<Thing>> Program::some(std::vector<int>& ids, std::size_t max, int& losses) {
  std::vector<ObjectRef<Thing>> refs;
  for (std::size_t count = pool_.empty() ? 0 : pick(max + 1); count != 0; --count) {
    const Held& held = pool_[pick(pool_.size())];
    ids.push_back(held.id);
    refs.push_back(held.ref);
    losses = std::min(losses, held.losses);
  }
  return refs;
}

// False: it was lost, and may have been.
template <class T>
bool Program::get_into(const ObjectRef<T>& ref, T& value, int task, int losses, bool is_alone) {
  try {
    value = get(ref);
    return true;
  } catch (const Exception& error) {
    Story& story = world_.story;
    if (error.code() == ErrorCode::kStoreFull || error.code() == ErrorCode::kQueueFull) {
      ++world_.counts.store_full;
      if (!world_.has_large_values) story.fail(std::string("there is room: ") + error.what());
      return false;
    }
    world_.machine.log("task %d gives error %d: %s", task, static_cast<int>(error.code()), error.what());
    const bool is_loss = error.code() == ErrorCode::kOwnerDied || error.code() == ErrorCode::kObjectLost ||
                         error.code() == ErrorCode::kWorkerDied;
    ++world_.counts.lost_results;
    // What is looked at beside the task may be lost by one loss; the task itself by as many as its retries allow.
    const bool may_be = is_alone ? story.may_be_lost(task) : story.has_lost_since(losses);
    if (!is_loss || !may_be)
      story.fail("thread " + std::to_string(number_) + " gets an error that nothing explains (code " +
                 std::to_string(static_cast<int>(error.code())) + "): " + error.what());
    return false;
  }
}

void Program::check(const Asked& asked) {
  int value = 0;
  world_.machine.log("waits for task %d", asked.task);
  if (!get_into(asked.ref, value, asked.task, asked.losses, asked.is_alone)) return;
  if (value != asked.expected)
    world_.story.fail("a result is " + std::to_string(value) + " and should be " + std::to_string(asked.expected));
}

void Program::one_step() {
  Story& story = world_.story;
  const std::size_t what = pick(100);
  std::vector<int> ids;
  int retries = 0;
  int losses = story.losses();
  if (what < 25) {
    const Step mine = step(retries);
    const int a = static_cast<int>(pick(1'000));
    if (!asked_.empty() && pick(2) == 0) {
      const Asked& need = asked_[pick(asked_.size())];
      asked_.push_back({remote<add>(TaskOptions{.max_retries = retries}, mine, need.ref, a), need.expected + a, mine.id,
                        std::min(losses, need.losses), false});
    } else {
      asked_.push_back({remote<add>(TaskOptions{.max_retries = retries}, mine, a, 1), a + 1, mine.id, losses, true});
    }
  } else if (what < 32) {
    const Step mine = step(retries);
    std::vector<int> parts;
    for (std::size_t count = 1 + pick(4); count != 0; --count) parts.push_back(story.submit(3, 0).id);
    const int a = static_cast<int>(pick(100));
    const int sum = (a + 1) * static_cast<int>(parts.size());
    // A task whose attempt is lost makes its parts once more, under the same numbers.
    story.shares(parts);
    asked_.push_back(
        {remote<add_all>(TaskOptions{.max_retries = retries}, mine, parts, a), sum, mine.id, losses, false});
  } else if (pool_.size() < 3 || what < 55) {
    const int id = ++last_id_;
    const std::vector<ObjectRef<Thing>> children = some(ids, 4, losses);
    const std::size_t size = payload();
    Held made;
    made.id = id;
    made.losses = losses;
    bool is_made = true;
    try {
      const Step mine = step(retries);
      const TaskOptions options{.max_retries = retries};
      if (what % 4 == 0) {
        made.ref = put(Thing{id, children, std::string(size, 'p')});
      } else if (what % 4 == 1) {
        is_made = get_into(remote<put_there>(options, mine, Thing{id, children, std::string(size, 'p')}), made.ref,
                           mine.id, losses);
      } else if (what % 4 == 2) {
        const int inner = story.submit(3, 0).id;
        story.shares({inner});
        is_made = get_into(remote<begin_there>(options, mine, inner, id, children, size), made.ref, mine.id, losses);
      } else {
        made.ref = remote<return_there>(options, mine, id, children, size);
      }
    } catch (const Exception& error) {
      if (error.code() != ErrorCode::kStoreFull) story.fail(std::string("a submission fails: ") + error.what());
      return;
    }
    if (!is_made) return;
    known_[id] = {ids, size};
    pool_.push_back(std::move(made));
  } else if (what < 62) {
    const Step mine = step(retries);
    const std::vector<ObjectRef<Thing>> refs = some(ids, 6, losses);
    std::vector<ObjectRef<Thing>> back;
    if (!get_into(remote<turn_around>(TaskOptions{.max_retries = retries}, mine, refs), back, mine.id, losses)) return;
    if (back.size() != ids.size()) return story.fail("references are lost on the way");
    for (std::size_t i = 0; i < ids.size(); ++i) pool_.push_back({ids[ids.size() - 1 - i], back[i], losses, 0});
  } else if (what < 78) {
    const Held& held = pool_[pick(pool_.size())];
    losses = std::min(losses, held.losses);
    std::vector<std::size_t> path;
    int end = held.id;
    for (std::size_t steps = pick(5); steps != 0 && !known_.at(end).children.empty(); --steps) {
      path.push_back(pick(known_.at(end).children.size()));
      end = known_.at(end).children[path.back()];
    }
    const Step mine = step(retries);
    const TaskOptions options{.max_retries = retries};
    const int expected = end + static_cast<int>(known_.at(end).payload);
    asked_.push_back({what % 2 == 0 ? remote<follow_value>(options, mine, held.ref, path)
                                    : remote<follow>(options, mine, held.ref, path),
                      expected, mine.id, losses, false});
  } else if (what < 84) {
    const Held held = pool_[pick(pool_.size())];
    Thing thing;
    if (!get_into(held.ref, thing, held.task, held.losses)) return;
    if (thing.id != held.id || thing.payload.size() != known_.at(held.id).payload)
      return story.fail("thing " + std::to_string(held.id) + " is another one");
    for (std::size_t i = 0; i < thing.children.size(); ++i)
      pool_.push_back({known_.at(held.id).children[i], thing.children[i], held.losses, 0});
  } else {
    for (std::size_t count = 1 + pick(4); count != 0 && !pool_.empty(); --count)
      pool_.erase(pool_.begin() + static_cast<std::ptrdiff_t>(pick(pool_.size())));
    if (asked_.size() > 12) {
      for (const Asked& asked : asked_) check(asked);
      asked_.clear();
    }
  }
  if (pool_.size() > 40) pool_.erase(pool_.begin(), pool_.begin() + 15);
}

}  // namespace

void run_program(int number) { Program(number).run(); }

}  // namespace rayx::sim

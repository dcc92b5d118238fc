// One cluster of a given size, from the moment when all join at once: what it costs its head, and how long everybody waits for
// it. The real registry::Head and registry::Members, in one thread.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "../cluster/events.hpp"
#include "../cluster/network.hpp"
#include "head_on_network.hpp"
#include "process.hpp"
#include "report.hpp"

namespace rayx::sim {

class Run {
 public:
  explicit Run(const Plan& plan);
  Report run();

 private:
  friend class Process;
  static constexpr HostId kHeadHost = 0;
  static constexpr TimeNs kLimit = 300 * kSecond;  // of a mass event: then it is not over

  struct Actor {
    EndpointId maker = 0;
    TimeNs asked = 0;
    TimeNs handed_out = 0;
    TimeNs alive = 0;
    registry::ActorPhase phase = registry::ActorPhase::kPending;
  };

  // run.cc: the scenes
  void join();
  void make_many_actors();
  void steady();
  void lose_rack();
  void restart_head();
  void check_end();

  // world.cc: what there is, and what happens by chance
  void start_head();
  EndpointId start_process(registry::MemberKind kind);
  void leave(Process& process);
  void end_process(Process& process, bool is_silent);
  Process* some(const std::vector<EndpointId>& of);
  void create_some_actor();
  void begin_load();
  void begin_churn();
  void every(double per_second, const bool& is_wanted, std::function<void()> what);
  bool run_until(TimeNs limit, const std::function<bool()>& is_done);
  void run_for(TimeNs time) {
    run_until(now() + time, [] { return false; });
  }
  MassEvent measured(const std::function<bool()>& is_done);
  bool all_joined() const;
  bool all_know_all() const;
  std::size_t alive() const;

  // What processes report.
  void on_view(const registry::View& view);
  void on_asked(registry::ActorId actor, const Process& by);
  void on_handed_out(registry::ActorId actor);
  void on_state(const registry::ActorState& state);
  void on_job(Process& driver);
  void on_gone(Process& process);
  void fail(const std::string& problem) {
    if (report_.problem.empty()) report_.problem = problem;
  }

  EndpointId head_at() const { return head_ ? head_->me() : 0; }
  bool has_load() const { return has_load_; }
  bool is_alive(registry::ActorId actor) const;
  bool happens(double probability) { return static_cast<double>(chance_.below(1'000'000)) < probability * 1'000'000; }
  TimeNs soon(TimeNs limit) { return chance_.between(0, limit); }
  TimeNs now() const { return events_.now(); }

  const Plan plan_;
  Report report_;
  Chance chance_;
  Events events_;
  Network network_;
  Disk disk_;
  Traffic traffic_;
  std::unique_ptr<HeadOnNetwork> head_;
  bool has_load_ = false;
  bool has_churn_ = false;

  std::map<EndpointId, std::unique_ptr<Process>> processes_;
  std::vector<std::unique_ptr<Process>> buried_;  // until the event is over
  std::vector<EndpointId> nodes_;
  std::vector<EndpointId> drivers_;  // that have a job and stay
  std::set<EndpointId> visitors_;    // drivers that have a job for a while
  HostId last_host_ = kHeadHost;
  int views_kept_ = 0;

  std::unordered_map<std::uint64_t, Actor> actors_;  // all that were ever asked for, by id
  std::set<registry::ActorId> not_alive_;            // of those: asked for or to be restarted, and not dead
  std::set<registry::NodeId> rack_;                  // its nodes, once they are dead
  std::set<registry::ActorId> awaited_;              // of a scene: until they are alive
  TimeNs awaited_until_ = 0;                         // when the last of them was
  std::uint64_t deaths_told_ = 0;                    // of the rack: how often somebody was told
  std::uint64_t last_name_ = 0;
};

}  // namespace rayx::sim

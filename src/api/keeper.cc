// The keeper of a cluster: the program once more, in place of its main, as the process that has the head and watches over the nodes.
// It ends everything when its driver asks for it or is gone, in whatever way.
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/global_cluster.hpp"
#include "api/keeper.hpp"
#include "api/role_names.hpp"
#include "api/route.hpp"
#include "api/spark_nodes.hpp"
#include "base/clock.hpp"
#include "cluster/local_provider.hpp"
#include "cluster/provider_calls.hpp"
#include "cluster/spec.hpp"
#include "cluster/supervisor.hpp"
#include "host/daemon.hpp"
#include "host/visitor.hpp"
#include "process/pidfd.hpp"
#include "process/spawn_self.hpp"
#include "process/take_over.hpp"

namespace rayx::detail {
namespace {

using cluster::Json;

constexpr std::chrono::seconds kFirstWordTimeout{30};
constexpr std::chrono::seconds kCallTimeout{60};       // of a call to the driver's own provider
constexpr std::chrono::milliseconds kStepPause{50};    // while it starts or ends
constexpr std::chrono::milliseconds kQuietPause{400};  // between rounds of a cluster that is as it should be
constexpr std::chrono::seconds kSendAwayTimeout{5};

// The operating system's wish that it ends: the cluster is given back first.
volatile std::sig_atomic_t is_terminated = 0;
void on_sigterm(int) { is_terminated = 1; }

class Keeper final : private cluster::Surroundings {
 public:
  explicit Keeper(base::UniqueFd socket) : driver_(std::move(socket)) {}

  int run() {
    const std::optional<Json> first = driver_.receive(base::Deadline(kFirstWordTimeout));
    if (!first) return 1;
    try {
      spec_ = first->at("spec").get<cluster::Spec>();
    } catch (const Json::exception& error) {
      return give_up(
          {ErrorCode::kMalformed, std::string("rayx: the keeper was told what it cannot read: ") + error.what()});
    }
    if (cluster::number_of(*first, "pid") == ::getppid()) driver_pidfd_ = process::open_pidfd(::getppid());
    if (spec_.is_global) {
      Result<GlobalCluster> claimed = GlobalCluster::claim();
      if (!claimed) return give_up(claimed.error());
      global_.emplace(std::move(*claimed));
    }
    if (!spec_.collect_logs_to.empty())
      if (Result<void> made = cluster::make_log_folder(spec_.collect_logs_to); !made) return give_up(made.error());
    if (Result<void> started = start_head(); !started) return give_up(started.error());
    if (Result<void> made = make_provider(); !made) return give_up(made.error());
    supervise();
    return 0;
  }

 private:
  int give_up(const Error& error) {
    driver_.send({{"tell", "failed"}, {"error", cluster::to_json(error)}});
    return 1;
  }

  // ---- The head

  Result<void> start_head() {
    host::DaemonConfig config;
    config.has_head = true;
    config.is_node = spec_.head_num_cpus > 0;
    config.address = spec_.listen.empty() ? "127.0.0.1" : spec_.listen;
    config.advertised = spec_.advertise;
    config.token = token_;
    config.resources.name = "head";
    config.resources.cpus = spec_.head_num_cpus;
    config.resources.store_bytes = spec_.head_store_bytes;
    if (config.is_node) {
      config.cache.directory = spec_.temp_directory;
      config.cache.setting =
          "set temp_directory of SparkConfig or ClusterConfig; the head has CPUs, and keeps programs in the folder "
          "that nodes have";
    }
    Result<std::unique_ptr<host::Daemon>> daemon = host::Daemon::start(std::move(config));
    if (!daemon) return std::move(daemon).error();
    head_ = std::move(*daemon);
    if (global_)
      if (Result<void> told = global_->announce({head_->head().text(), token_}); !told) return told;
    driver_.send({{"tell", "head"}, {"address", head_->head().text()}, {"token", token_.hex()}});
    return {};
  }

  std::vector<cluster::Member> members() override {
    report_ = head_->report();
    std::vector<cluster::Member> members;
    for (const registry::NodeView& node : report_.nodes) {
      if (node.kind != registry::MemberKind::kNode || node.state != registry::NodeState::kAlive) continue;
      const bool has_actor = std::any_of(report_.actors.begin(), report_.actors.end(),
                                         [&node](const auto& actor) { return actor.node == node.node; });
      const bool is_busy = has_actor || node.has_objects || node.free.cpus < node.total.cpus;
      members.push_back({node.name, base::to_text(node.node), is_busy});
    }
    return members;
  }

  // Of the size of those that are there: tasks by their CPUs, and an actor that waits counts as one CPU. What no node could take, even
  // an empty one, starts none.
  int wanted_nodes() override {
    base::Units node_cpus = spec_.num_cpus * base::kUnitsOfOne;
    for (const registry::NodeView& node : report_.nodes)
      if (node.kind == registry::MemberKind::kNode) node_cpus = std::max(node_cpus, node.total.cpus);
    std::vector<cluster::WaitingWork> work;
    for (const registry::Demand& demand : report_.queued) work.push_back({demand.each.cpus, demand.count});
    for (const host::ClusterReport::Actor& actor : report_.actors)
      if (!actor.node && actor.phase != registry::ActorPhase::kDead && actor.is_feasible)
        work.push_back({base::kUnitsOfOne, 1});
    return std::min(cluster::nodes_for(work, node_cpus), cluster::kNodesMax);
  }

  void send_away(const cluster::Member& member) override {
    progress("a second node has come as " + member.name + "; it is sent away");
    const auto ask = [&member](const host::NodeViews& nodes) -> Result<registry::RequestBody> {
      const Result<base::NodeId> node = host::find_node(nodes, member.id);
      if (!node) return node.error();
      return registry::RequestBody(registry::DrainNode{*node, 0, "another node has its name"});
    };
    static_cast<void>(
        host::ask_head(head_->endpoint(), token_, wire::TlsPolicy::kOffLoopback, ask, kSendAwayTimeout).has_value());
  }

  // ---- The provider

  Result<void> make_provider() {
    if (spec_.provider == cluster::kCalledProvider) {
      provider_ = std::make_unique<cluster::CalledProvider>(spec_.provider_name,
                                                            ProviderAbilities{spec_.has_capacity, spec_.has_logs},
                                                            [this](Json call) { return ask_driver(std::move(call)); });
      return {};
    }
    if (spec_.provider == cluster::kLocalProvider) {
      provider_ = std::make_unique<cluster::LocalProvider>(clock_);
      return {};
    }
    if (spec_.provider == cluster::kSparkProvider) {
      Result<std::unique_ptr<ClusterProvider>> made =
          make_spark_provider(spec_, [this](const std::string& line) { progress(line); });
      if (!made) return std::move(made).error();
      provider_ = std::move(*made);
      return {};
    }
    return Error{ErrorCode::kInvalidConfig, "rayx: there is no provider \"" + spec_.provider + "\""};
  }

  Result<Json> ask_driver(Json call) {
    call["number"] = ++calls_;
    const Error gone{ErrorCode::kSystemError, "rayx: the program that has the provider is gone"};
    if (!driver_.send(call)) return gone;
    const base::Deadline deadline(kCallTimeout);
    while (true) {
      const std::optional<Json> message = driver_.receive(deadline);
      if (!message && driver_.is_closed()) return gone;
      if (!message)
        return Error{ErrorCode::kTimeout, "rayx: the provider " + spec_.provider_name + " did not answer within " +
                                              std::to_string(kCallTimeout.count()) + " s"};
      if (cluster::number_of(*message, "answer") != static_cast<std::int64_t>(calls_)) {
        took(*message);
        continue;
      }
      if (const auto ok = message->find("ok"); ok != message->end()) return Json(*ok);
      return cluster::error_from(message->value("error", Json::object()));
    }
  }

  NodeRequest request_of(const std::string& name) override {
    std::error_code error;
    NodeRequest request;
    request.name = name;
    request.num_cpus = spec_.num_cpus;
    request.memory_bytes = spec_.memory_bytes;
    request.num_gpus = spec_.num_gpus;
    request.program = std::filesystem::read_symlink("/proc/self/exe", error).string();
    request.environment = spec_.environment;
    request.environment.emplace_back(process::kRoleVariable, kNodeRole);
    const cluster::NodeSpec node{head_->head().text(), token_.hex(),      name,
                                 spec_.num_cpus,       spec_.store_bytes, spec_.temp_directory};
    request.input = Json(node).dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
    return request;
  }

  // ---- What the driver hears and says

  void progress(const std::string& line) override { driver_.send({{"tell", "progress"}, {"line", line}}); }
  void submitted(const std::string& id) override { driver_.send({{"tell", "submitted"}, {"id", id}}); }
  void gone(const std::string& id) override { driver_.send({{"tell", "gone"}, {"id", id}}); }
  void nodes_ready(int count) override { driver_.send({{"tell", "nodes"}, {"count", count}}); }

  void took(const Json& message) { is_asked_to_end_ |= cluster::text_of(message, "do") == "shutdown"; }

  // False: the driver is gone.
  bool listen(std::chrono::milliseconds pause) {
    pollfd waiting[] = {{driver_.fd(), POLLIN, 0}, {driver_pidfd_.get(), POLLIN, 0}};
    const int ready = ::poll(waiting, 2, static_cast<int>(pause.count()));
    if (ready > 0 && waiting[0].revents != 0)
      while (const std::optional<Json> message = driver_.receive(base::Deadline(std::chrono::milliseconds(0))))
        took(*message);
    return !driver_.is_closed() && (ready <= 0 || waiting[1].revents == 0);
  }

  // ---- The life of the cluster

  void supervise() {
    cluster::SupervisorConfig config;
    config.limits = {spec_.nodes_min, spec_.nodes_max, spec_.idle_timeout_ns, spec_.upscaling_speed};
    config.name_prefix = provider_->name();
    config.start_timeout_ns = spec_.start_timeout_ns;
    config.is_strict = spec_.strict_mode;
    config.collect_logs_to = spec_.collect_logs_to;
    cluster::Supervisor supervisor(std::move(config), *provider_, *this, clock_);
    using Outcome = cluster::Supervisor::Outcome;
    bool is_ready_told = false;
    while (true) {
      supervisor.step();
      if (supervisor.outcome() == Outcome::kFailed) break;
      if (supervisor.outcome() == Outcome::kReady && !std::exchange(is_ready_told, true))
        driver_.send({{"tell", "ready"}});
      if (!listen(is_ready_told ? kQuietPause : kStepPause) || is_asked_to_end_ || is_terminated != 0) break;
    }
    end_all(supervisor);
  }

  void end_all(cluster::Supervisor& supervisor) {
    const base::Deadline patience(kKeeperEndPatience);
    supervisor.end_all(clock_.now_ns() + std::chrono::nanoseconds(kKeeperEndPatience).count());
    while (!supervisor.is_over() && !patience.has_passed()) {
      supervisor.step();
      ::poll(nullptr, 0, static_cast<int>(kStepPause.count()));
    }
    const std::vector<std::string> left = supervisor.left();
    provider_.reset();
    head_.reset();
    global_.reset();
    if (supervisor.outcome() == cluster::Supervisor::Outcome::kFailed) {
      driver_.send({{"tell", "failed"}, {"error", cluster::to_json(supervisor.failure())}, {"left", left}});
    } else {
      driver_.send({{"tell", "over"}, {"left", left}});
    }
  }

  const base::SteadyClock clock_;
  cluster::JsonLines driver_;
  base::UniqueFd driver_pidfd_;
  cluster::Spec spec_;
  const wire::Token token_ = wire::Token::make_random();
  std::optional<GlobalCluster> global_;
  std::unique_ptr<host::Daemon> head_;
  std::unique_ptr<ClusterProvider> provider_;
  host::ClusterReport report_;
  std::uint64_t calls_ = 0;
  bool is_asked_to_end_ = false;
};

int keeper_main() {
  ::prctl(PR_SET_NAME, "rayx:keeper");
  // Ctrl-C and the end of a session reach the driver; what becomes of it is what counts.
  ::signal(SIGINT, SIG_IGN);
  ::signal(SIGHUP, SIG_IGN);
  ::signal(SIGTERM, &on_sigterm);
  ::signal(SIGPIPE, SIG_IGN);
  Keeper keeper(base::UniqueFd{process::kControlFd});
  return keeper.run();
}

[[maybe_unused]] const bool registered = (process::register_role(kKeeperRole, &keeper_main), true);

}  // namespace
}  // namespace rayx::detail

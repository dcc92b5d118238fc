#include "rayx/admin.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

#include "api/config.hpp"
#include "api/value_or_throw.hpp"
#include "host/daemon.hpp"
#include "host/status.hpp"
#include "host/visitor.hpp"
#include "rayx/errors.hpp"
#include "rayx/options.hpp"

namespace rayx {
namespace {

Result<wire::Token> token_of_environment(const std::string& more_advice) {
  Result<std::optional<wire::Token>> token = wire::Token::from_environment();
  if (!token) return std::move(token).error();
  if (*token) return std::move(**token);
  return Error{ErrorCode::kInvalidConfig,
               "rayx: there is no token for the cluster; " + std::string(wire::kTokenAdvice) + more_advice};
}

Result<wire::Token> find_or_make_token(const std::string& file) {
  if (file.empty()) return token_of_environment(", or name a file in which a new one is to be written");
  struct stat status {};
  if (::stat(file.c_str(), &status) == 0) return wire::Token::from_file(file);
  wire::Token token = wire::Token::make_random();
  Result<void> written = token.write_file(file);
  if (!written) return std::move(written).error();
  return token;
}

Result<wire::Token> find_token(const std::string& file) {
  return file.empty() ? token_of_environment("") : wire::Token::from_file(file);
}

Result<wire::Endpoint> head_endpoint(const std::string& address) {
  Result<wire::Endpoint> endpoint = wire::Endpoint::parse(address);
  if (endpoint) return endpoint;
  return Error{ErrorCode::kInvalidConfig, "rayx: the address of the head: " + endpoint.error().message};
}

using detail::value_or_throw;

double cpus_of(base::Units units) { return static_cast<double>(units) / static_cast<double>(base::kUnitsOfOne); }

}  // namespace

struct ClusterNode::State {
  host::NodeResources resources;
  std::unique_ptr<host::Daemon> daemon;
};

ClusterNode::ClusterNode(NodeOptions options) : state_(std::make_unique<State>()) {
  Config config;
  config.local = false;
  config.address = "";
  config.num_cpus = options.num_cpus;
  config.store_bytes = options.store_bytes;
  const Config resolved = value_or_throw(detail::resolve_config(config));
  host::DaemonConfig daemon;
  if (options.has_head == !options.head_address.empty()) {
    detail::throw_error({ErrorCode::kInvalidConfig,
                         options.has_head
                             ? "rayx: a node either has the head in it or is told where the head is, not both"
                             : "rayx: a node needs a head: be it one node of the cluster that has it "
                               "(--head), or the address of that one (--address)"});
  }
  if (!options.has_head && (!options.state_folder.empty() || options.is_head_only))
    detail::throw_error(
        {ErrorCode::kInvalidConfig,
         "rayx: a folder for the state, and being nothing but the head, belong to the one with the head"});
  daemon.has_head = options.has_head;
  daemon.is_node = !options.is_head_only;
  daemon.head_folder = options.state_folder;
  if (!options.has_head) daemon.head = value_or_throw(head_endpoint(options.head_address));
  daemon.resources.name = std::move(options.name);
  std::sort(options.labels.begin(), options.labels.end());
  for (std::size_t i = 0; i < options.labels.size(); ++i) {
    if (options.labels[i].first.empty() || (i > 0 && options.labels[i - 1].first == options.labels[i].first))
      detail::throw_error(
          {ErrorCode::kInvalidConfig, "rayx: the label \"" + options.labels[i].first +
                                          "\" is there twice, or has no name; each needs one of its own"});
  }
  daemon.resources.labels = std::move(options.labels);
  daemon.address = options.listen;
  daemon.port = options.port;
  daemon.advertised = std::move(options.advertise);
  daemon.token = value_or_throw(find_or_make_token(options.token_file));
  daemon.resources.cpus = options.is_head_only ? 0 : *resolved.num_cpus;
  daemon.resources.store_bytes = options.is_head_only ? 0 : *resolved.store_bytes;
  daemon.cache.directory = options.cache_folder;
  daemon.log = std::move(options.log);
  daemon.is_over = std::move(options.is_over);
  state_->resources = daemon.resources;
  state_->daemon = value_or_throw(host::Daemon::start(std::move(daemon)));
}

ClusterNode::~ClusterNode() = default;
ClusterNode::ClusterNode(ClusterNode&&) noexcept = default;
ClusterNode& ClusterNode::operator=(ClusterNode&&) noexcept = default;

std::string ClusterNode::address() const { return state_->daemon->endpoint().text(); }
std::string ClusterNode::head_address() const { return state_->daemon->head().text(); }
int ClusterNode::num_cpus() const { return state_->resources.cpus; }
std::uint64_t ClusterNode::store_bytes() const { return state_->resources.store_bytes; }
void ClusterNode::drain(std::chrono::milliseconds within) { state_->daemon->drain(within); }

ClusterStatus cluster_status(const std::string& head_address, const std::string& token_file,
                             std::chrono::milliseconds timeout) {
  const host::ClusterReport report = value_or_throw(host::ask_for_report(value_or_throw(head_endpoint(head_address)),
                                                                         value_or_throw(find_token(token_file)),
                                                                         wire::TlsPolicy::kOffLoopback, timeout));
  ClusterStatus status;
  status.cluster = base::to_text(base::NodeId{report.cluster});
  status.starts_of_head = report.epoch;
  const auto name_of = [&report](base::NodeId id) {
    const auto found =
        std::find_if(report.nodes.begin(), report.nodes.end(), [id](const auto& it) { return it.node == id; });
    return found == report.nodes.end() ? base::to_text(id) : found->name;
  };
  for (const registry::NodeView& node : report.nodes) {
    if (node.kind != registry::MemberKind::kNode) continue;
    status.nodes.push_back({base::to_text(node.node), node.state == registry::NodeState::kAlive ? "alive" : "draining",
                            node.name, node.address, cpus_of(node.total.cpus), cpus_of(node.free.cpus),
                            static_cast<std::uint64_t>(node.total.memory_bytes), node.labels, node.reason});
  }
  for (const registry::JobInfo& job : report.jobs)
    status.jobs.push_back({base::to_text(job.job), job.program, name_of(job.driver)});
  status.actors_total = report.actors_total;
  for (const host::ClusterReport::Actor& actor : report.actors)
    status.actors.push_back({base::to_text(actor.actor), registry::to_text(actor.phase), actor.name,
                             actor.node ? base::to_text(actor.node) : "", base::to_text(actor.job), actor.restarts,
                             actor.is_feasible, actor.is_detached});
  return status;
}

void drain_node(const std::string& head_address, const std::string& node, std::chrono::milliseconds within,
                const std::string& token_file, std::chrono::milliseconds timeout) {
  const auto ask = [&node, within](const host::NodeViews& nodes) -> Result<registry::RequestBody> {
    Result<base::NodeId> found = host::find_node(nodes, node);
    if (!found) return std::move(found).error();
    return registry::RequestBody(
        registry::DrainNode{*found, std::chrono::nanoseconds(within).count(), "somebody asked for it"});
  };
  const registry::Answer answer =
      value_or_throw(host::ask_head(value_or_throw(head_endpoint(head_address)), value_or_throw(find_token(token_file)),
                                    wire::TlsPolicy::kOffLoopback, ask, timeout));
  if (answer.status != registry::Status::kOk)
    detail::throw_error({ErrorCode::kInvalidConfig, "rayx: the node cannot be drained: " + answer.message});
}

}  // namespace rayx

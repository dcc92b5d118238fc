#include "host/cluster.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <future>
#include <set>
#include <string_view>
#include <utility>

#include "bundle/manifest.hpp"
#include "host/daemon.hpp"
#include "host/site_load.hpp"
#include "wire/endpoint.hpp"
#include "wire/token.hpp"

namespace rayx::host {
namespace {

constexpr std::chrono::seconds kNobodyTimeout{
    2};  // nothing listens there; a head that is started again is back by then
constexpr std::chrono::seconds kJoinTimeout{10};
constexpr std::chrono::milliseconds kSitePauseMin{
    250};  // before a site is opened again that failed or was lost; doubled each time
constexpr std::chrono::milliseconds kSitePauseMax{10'000};

std::string name_of_program(const bundle::RunningProgram& program) {
  const std::string& path = program.manifest.executable().path;
  return path.substr(path.rfind('/') + 1);
}

void warn(const std::string& line) { std::fprintf(stderr, "rayx: %s\n", line.c_str()); }

}  // namespace

// Until init may go on.
struct Cluster::Beginning {
  std::promise<Result<void>> outcome;
  bool is_told = false;
  bool is_view_complete = false;
  std::set<registry::NodeId> open;  // sites that are not answered yet
  std::size_t ready = 0;
  std::string problem;  // the last one

  void tell(Result<void> result) {
    if (!std::exchange(is_told, true)) outcome.set_value(std::move(result));
  }
};

Cluster::Cluster(wire::Endpoint head, std::unique_ptr<Network> network, std::shared_ptr<SiteClient::About> about,
                 wire::Token token)
    : head_(std::move(head)),
      network_(std::move(network)),
      node_id_(random_node_id()),
      places_(network_->loop(), *this),
      about_(std::move(about)),
      token_(std::move(token)),
      beginning_(std::make_shared<Beginning>()) {}

Result<std::unique_ptr<Cluster>> Cluster::create(const ClusterConfig& config) {
  Result<wire::Endpoint> head = wire::Endpoint::parse(config.address);
  if (!head)
    return Error{
        ErrorCode::kInvalidConfig,
        "rayx: init: the address of the cluster's head (RAYX_ADDRESS or Config::address): " + head.error().message};
  Result<std::optional<wire::Token>> token =
      config.token ? Result<std::optional<wire::Token>>(config.token) : wire::Token::from_environment();
  if (!token) return std::move(token).error();
  if (!*token) {
    return Error{ErrorCode::kInvalidConfig,
                 "rayx: init: RAYX_ADDRESS names a cluster, but there is no token to prove that "
                 "this program may use it; " +
                     std::string(wire::kTokenAdvice)};
  }
  bundle::FileDigests digests;
  Result<bundle::RunningProgram> program = bundle::describe_running_program(digests);
  if (!program) return std::move(program).error();
  auto about = std::make_shared<SiteClient::About>();
  about->open.submit_timeout_ns = static_cast<std::uint64_t>(config.submit_timeout.count());
  about->open.pending_max = config.pending_max;
  about->open.name = name_of_program(*program);
  about->open.modules = config.modules;
  about->open.manifest = bundle::encode(program->manifest);
  about->program = std::move(*program);

  Result<std::unique_ptr<Network>> network = Network::start();
  if (!network) return std::move(network).error();
  return std::unique_ptr<Cluster>(
      new Cluster(std::move(*head), std::move(*network), std::move(about), std::move(**token)));
}

Result<void> Cluster::join(relay::Site& mine) {
  mine_ = &mine;
  std::future<Result<void>> outcome = beginning_->outcome.get_future();
  network_->call([this] { start(); });
  // The program may have to be sent first, which takes as long as it takes; silence of a node ends its part of it.
  const auto give_up_after = [&](std::chrono::seconds time, bool (*is_hopeless)(const Cluster&)) {
    if (outcome.wait_for(time) == std::future_status::ready) return;
    network_->call([&] {
      if (!is_hopeless(*this)) return;
      beginning_->tell(Error{ErrorCode::kTimeout, "rayx: init: no head was found at " + head_.text() + " within " +
                                                      std::to_string(time.count()) +
                                                      " s. Is `rayx start --head` running there? " +
                                                      beginning_->problem});
    });
  };
  give_up_after(kNobodyTimeout,
                [](const Cluster& it) { return !it.beginning_->is_view_complete && !it.beginning_->problem.empty(); });
  give_up_after(kJoinTimeout - kNobodyTimeout,
                [](const Cluster& it) { return !it.has_job_ || !it.beginning_->is_view_complete; });
  return outcome.get();
}

void Cluster::start() {
  registry::Identity identity;
  identity.node = node_id_;
  identity.kind = registry::MemberKind::kDriver;
  identity.name = host_name();
  identity.pid = static_cast<std::uint32_t>(::getpid());
  head::MemberHandler& handler = *this;
  member_ = std::make_unique<head::MemberLink>(network_->loop(), head_,
                                               wire::LinkConfig{token_, wire::TlsPolicy::kOffLoopback, {}, {}},
                                               std::move(identity), handler);
  member_->start();
}

// ---- The job

void Cluster::is_joined() {
  beginning_->is_view_complete = true;
  if (!has_job_) start_job();
  look_whether_begun();
}

void Cluster::start_job() {
  const bundle::Digest hash = bundle::hash_of(about_->program.manifest);
  registry::StartJob request{{reinterpret_cast<const char*>(hash.data()), hash.size()}, about_->open.name, {}};
  member_->request(std::move(request), [this](const registry::Answer& answer) {
    const auto* const job = std::get_if<registry::JobInfo>(&answer.body);
    if (answer.status != registry::Status::kOk || job == nullptr)
      return beginning_->tell(
          Error{ErrorCode::kSystemError, "rayx: init: the head does not take the job: " + answer.message});
    has_job_ = true;
    about_->open.job = job->job;
    about_->open.driver = node_id_;
    const base::SiteId me{node_id_, job->job};
    mine_->relay().belongs_to(me);
    mine_->relay().expect_peers(true);
    others_ = std::make_unique<SitePeers>(network_->loop(), mine_->relay(),
                                          wire::LinkConfig{token_, wire::TlsPolicy::kOffLoopback, {}, {}}, me,
                                          [this](registry::NodeId id) -> const registry::NodeView* {
                                            const auto node = nodes_.find(id);
                                            return node == nodes_.end() ? nullptr : &node->second.view;
                                          });
    places_.open(me, mine_->relay(), text_for_head(about_->open));
    for (const auto& [id, node] : nodes_) open_site(id);
    look_whether_begun();
    tell_load();
  });
}

// What waits here for CPUs, so that who can start nodes hears of it.
void Cluster::tell_load() {
  if (mine_ == nullptr) return;
  registry::Load load;
  add_queued(mine_->node().arena(), about_->open.job, load);
  member_->member().set_load(std::move(load));
  load_timer_ = network_->loop().call_after(kLoadPause, [this] { tell_load(); });
}

void Cluster::job_ended(registry::JobId, const std::string& why) { is_over("the job was ended: " + why); }

void Cluster::is_over(const std::string& message) {
  beginning_->tell(Error{ErrorCode::kSystemError, "rayx: init: " + message});
  if (is_ending_) return;
  warn("this program is not part of the cluster any more: " + message);
  drop_all(message);
  if (mine_ != nullptr) mine_->relay().expect_peers(false, message);
}

void Cluster::head_is_away(const Error& error) {
  beginning_->problem = error.message;
  if (is_no_head(error)) beginning_->tell(Error{error.code, "rayx: init: " + error.message});
}

// ---- Nodes

void Cluster::node_changed(const registry::NodeView& view) {
  if (view.kind != registry::MemberKind::kNode || is_ending_) return;
  if (view.state == registry::NodeState::kDead) return drop_node(view.node, view.reason);
  if (mine_ != nullptr) mine_->relay().node_changed(view);
  const auto [node, is_new] = nodes_.try_emplace(view.node);
  node->second.view = view;
  if (is_new && has_job_) open_site(view.node);
  if (view.state == registry::NodeState::kDraining && node->second.client != nullptr) node->second.client->drain();
}

void Cluster::open_site(registry::NodeId id) {
  Node& node = nodes_.at(id);
  node.timer = 0;
  if (node.view.state != registry::NodeState::kAlive || is_ending_) return;
  const Result<wire::Endpoint> endpoint = wire::Endpoint::parse(node.view.address);
  if (!endpoint)
    return warn("node " + node.view.name + " has the address \"" + node.view.address +
                "\": " + endpoint.error().message);
  if (!beginning_->is_told) beginning_->open.insert(id);
  node.client = std::make_shared<SiteClient>(*network_, *mine_, about_, id);
  const SiteClient* const client = node.client.get();
  node.client->begin(
      *endpoint, token_, wire::TlsPolicy::kOffLoopback,
      [this, id](Result<void> outcome) { site_was_answered(id, std::move(outcome)); },
      [this, id, client](const std::string& why) { site_was_lost(id, client, why); });
}

void Cluster::site_was_answered(registry::NodeId id, Result<void> outcome) {
  const bool is_first = beginning_->open.erase(id) > 0;
  if (outcome) {
    beginning_->ready += is_first;
    if (const auto node = nodes_.find(id); node != nodes_.end())
      node->second.pause = {}, node->second.is_told_of = false;
  } else {
    beginning_->problem = outcome.error().message;
    const auto node = nodes_.find(id);
    if (node != nodes_.end() && !std::exchange(node->second.is_told_of, true)) warn(outcome.error().message);
  }
  look_whether_begun();
}

// The link of the site is closed; the node may be alive.
void Cluster::site_was_lost(registry::NodeId id, const SiteClient* client, const std::string&) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end() || found->second.client.get() != client || is_ending_) return;
  found->second.client->end();
  found->second.client.reset();
  try_later(found->second, id);
}

void Cluster::try_later(Node& node, registry::NodeId id) {
  node.pause = std::clamp(2 * node.pause, kSitePauseMin, kSitePauseMax);
  node.timer = network_->loop().call_after(node.pause, [this, id] { open_site(id); });
}

void Cluster::drop_node(registry::NodeId id, const std::string& why) {
  const auto found = nodes_.find(id);
  if (found == nodes_.end()) return;
  network_->loop().cancel(found->second.timer);
  if (found->second.client != nullptr) found->second.client->end();
  if (mine_ != nullptr) {
    registry::NodeView view = found->second.view;
    view.state = registry::NodeState::kDead;
    mine_->relay().node_changed(view);
  }
  nodes_.erase(found);
  if (others_ != nullptr) others_->node_is_gone(id, why);
  if (mine_ != nullptr) mine_->relay().peer_failed(id, why);
  if (nodes_.empty() && beginning_->is_told && !is_ending_ && member_->member().is_joined())
    warn("the cluster has no node at present: tasks wait for one");
  if (beginning_->open.erase(id) > 0) look_whether_begun();
}

void Cluster::drop_all(const std::string& why) {
  while (!nodes_.empty()) drop_node(nodes_.begin()->first, why);
}

// A driver has links to all nodes, or is about to have them.
void Cluster::need_peer(const base::SiteId& from, const base::SiteId& to) {
  if (mine_ == nullptr) return;
  if (!from.is_one_with(to)) return others_->need(to);
  if (!nodes_.contains(to.node)) mine_->relay().peer_failed(to.node, "the cluster has no such node");
}

void Cluster::actor_changed(const registry::ActorState& state) {
  if (!places_.watches(state.actor) || mine_ == nullptr) return;
  if (state.phase == registry::ActorPhase::kDead) places_.forget(state.actor);
  mine_->relay().actor_changed(state);
}

void Cluster::subscribed(const std::string& channel, bool is_refused) {
  if (reads(channel)) mine_->relay().subscribed(channel, is_refused);
}
void Cluster::published(const registry::Published& message) {
  if (reads(message.channel)) mine_->relay().published(message);
}
void Cluster::missed(const std::string& channel, std::optional<std::uint64_t> count) {
  if (reads(channel)) mine_->relay().missed(channel, count);
}

void Cluster::look_whether_begun() {
  const Beginning& now = *beginning_;
  if (now.is_told || !now.is_view_complete || !has_job_ || !now.open.empty()) return;
  if (now.ready > 0) return beginning_->tell({});
  beginning_->tell(
      Error{ErrorCode::kSystemError, now.problem.empty()
                                         ? "rayx: init: the cluster has no node that could run anything. Start one: "
                                           "rayx start --address=" +
                                               member_->head().text()
                                         : "rayx: init: " + now.problem});
}

// ---- The end

void Cluster::left() {
  if (has_left_) std::exchange(has_left_, nullptr)();
}

void Cluster::leave() {
  if (mine_ == nullptr) return;
  // Nodes end the job's processes, and what those printed arrives. A node that does not answer is left to the head.
  constexpr std::chrono::seconds kSitesTimeout{5};
  constexpr std::chrono::seconds kHeadTimeout{1};
  auto left = std::make_shared<std::promise<void>>();
  std::future<void> all_left = left->get_future();
  network_->call([this, left] {
    is_ending_ = true;
    network_->loop().cancel(load_timer_);
    std::vector<std::shared_ptr<SiteClient>> clients;
    for (auto& [id, node] : nodes_) {
      network_->loop().cancel(node.timer);
      if (node.client != nullptr) clients.push_back(node.client);
    }
    auto missing = std::make_shared<std::size_t>(clients.size());
    if (clients.empty()) left->set_value();
    for (const auto& client : clients)
      client->leave([left, missing] {
        if (--*missing == 0) left->set_value();
      });
  });
  all_left.wait_for(kSitesTimeout);
  auto farewell = std::make_shared<std::promise<void>>();
  std::future<void> said = farewell->get_future();
  network_->call([this, farewell] {
    for (auto& [id, node] : nodes_)
      if (node.client != nullptr) node.client->end();
    nodes_.clear();
    others_.reset();
    places_.close();
    mine_ = nullptr;
    if (member_ == nullptr || !member_->member().is_joined()) return farewell->set_value();
    has_left_ = [farewell] { farewell->set_value(); };
    member_->member().leave("the program has ended");
  });
  said.wait_for(kHeadTimeout);
  network_->call([this] { member_.reset(); });
  network_->call([] {});  // what the ends have posted
}

Cluster::~Cluster() { leave(); }

}  // namespace rayx::host

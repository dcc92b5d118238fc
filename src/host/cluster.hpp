// A driver's part of a cluster: it is a member, has a job, and links its site to each node that is there or comes.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "head/member_link.hpp"
#include "host/network.hpp"
#include "host/site_client.hpp"
#include "host/site_peers.hpp"
#include "host/site_places.hpp"
#include "relay/site.hpp"

namespace rayx::host {

struct ClusterConfig {
  std::string address;                              // "host:port" of the head
  std::optional<wire::Token> token = std::nullopt;  // nothing: from the environment
  std::string modules = {};                         // FunctionNumbers::encode
  std::chrono::nanoseconds submit_timeout = std::chrono::seconds(60);
  std::size_t pending_max = 1'000'000;
};

class Cluster final : private head::MemberHandler, private SitePlaces::Host {
 public:
  // The program is described; the token is taken from the environment. Nothing is said to anybody yet.
  static Result<std::unique_ptr<Cluster>> create(const ClusterConfig& config);
  // What the driver's own site is to be started with.
  relay::Places& places() { return places_; }
  base::NodeId node_id() const { return node_id_; }
  // Joins the cluster, sends the program to the nodes that lack it, and starts it there: some 10 ms where it has run before. Returns when
  // every node that the cluster has now is ready, or has said why it will not be; an error if none is.
  Result<void> join(relay::Site& mine);
  // Before the end of the site. Tasks that are elsewhere are lost to its relay.
  void leave();
  // After the end of the site.
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

 private:
  struct Beginning;
  // A node, as long as the cluster has it.
  struct Node {
    registry::NodeView view;
    std::shared_ptr<SiteClient> client;  // nothing: it is tried again
    std::chrono::milliseconds pause{0};  // before the next attempt
    wire::TimerId timer = 0;
    bool is_told_of = false;  // the user has heard why there is no site
  };

  Cluster(wire::Endpoint head, std::unique_ptr<Network> network, std::shared_ptr<SiteClient::About> about,
          wire::Token token);

  // Loop's thread.
  void start();
  void start_job();
  void open_site(registry::NodeId id);
  void site_was_answered(registry::NodeId id, Result<void> outcome);
  void site_was_lost(registry::NodeId id, const SiteClient* client, const std::string& why);
  void try_later(Node& node, registry::NodeId id);
  void drop_node(registry::NodeId id, const std::string& why);
  void drop_all(const std::string& why);
  void look_whether_begun();
  void tell_load();

  void node_changed(const registry::NodeView& node) override;
  void start_actor(const registry::PlaceActor&) override {}  // a driver is no node
  void end_actor(registry::ActorId, registry::Incarnation, registry::EndCause) override {}
  void job_ended(registry::JobId job, const std::string& why) override;
  void job_over(registry::JobId) override {}
  void actor_changed(const registry::ActorState& state) override;
  void subscribed(const std::string& channel, bool is_refused) override;
  void published(const registry::Published& message) override;
  void missed(const std::string& channel, std::optional<std::uint64_t> count) override;
  void drain(base::TimeNs, const std::string&) override {}
  void left() override;
  void start_anew(const std::string& message) override { is_over(message); }
  void is_over(const std::string& message) override;
  void head_is_away(const Error& error) override;
  void is_joined() override;

  head::MemberLink* member() override { return member_.get(); }
  void need_peer(const base::SiteId& from, const base::SiteId& to) override;
  void actor_was_ended(base::ActorId, registry::Incarnation) override {}
  bool reads(const std::string& channel) override { return mine_ != nullptr && places_.reads(channel); }

  const wire::Endpoint head_;
  const std::unique_ptr<Network> network_;
  const base::NodeId node_id_;
  SitePlaces places_;
  relay::Site* mine_ = nullptr;  // from join to leave
  const std::shared_ptr<SiteClient::About> about_;
  const wire::Token token_;
  std::unique_ptr<head::MemberLink> member_;
  std::map<registry::NodeId, Node> nodes_;
  std::unique_ptr<SitePeers> others_;  // sites of other programs, as long as there is a job
  std::shared_ptr<Beginning> beginning_;
  std::function<void()> has_left_;
  wire::TimerId load_timer_ = 0;
  bool has_job_ = false;
  bool is_ending_ = false;
};

}  // namespace rayx::host

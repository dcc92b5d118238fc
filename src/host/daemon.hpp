// A node of a cluster as a process of its own: listens, is a member of the cluster, and serves each job that opens a site here. One
// of a cluster's nodes has the head in it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "bundle/cache.hpp"
#include "head/head_server.hpp"
#include "head/member_link.hpp"
#include "host/job.hpp"
#include "host/network.hpp"
#include "host/program_files.hpp"
#include "host/site_places.hpp"
#include "host/status.hpp"
#include "wire/listener.hpp"

namespace rayx::host {

struct DaemonConfig {
  bool has_head = false;
  bool is_node = true;                // or nothing but the head
  std::string head_folder;            // of its durable state; empty: none
  wire::Endpoint head;                // of another process, unless has_head
  std::string address = "127.0.0.1";  // that it listens on; numbers
  std::uint16_t port = 0;             // 0: any
  std::string advertised;             // host, or host:port, by which others reach it; empty: as they see it
  wire::Token token = wire::Token::make_random();
  wire::TlsPolicy tls = wire::TlsPolicy::kOffLoopback;
  NodeResources resources;
  bundle::CacheConfig cache;
  std::function<void(const std::string&)> log;  // one line; the loop's thread
  // It is to end: drained, or without a head. The loop's thread
  std::function<void(const std::string& why, bool was_asked)> is_over;
};

class HostedSite;
class DetachedSite;
class SiteServer;

base::NodeId random_node_id();
std::string host_name();
// What answered is no head of this cluster, and will not be one after a while.
inline bool is_no_head(const Error& error) {
  return error.code != ErrorCode::kSystemError && error.code != ErrorCode::kTimeout;
}

class Daemon final : private head::MemberHandler, private SitePlaces::Host {
 public:
  // Returns when the node is a member of the cluster: an error says why it could not become one within `kJoinTimeout`.
  static Result<std::unique_ptr<Daemon>> start(DaemonConfig config);
  // Leaves the cluster, ends every job, and returns when nothing of them is left.
  ~Daemon();
  Daemon(const Daemon&) = delete;
  Daemon& operator=(const Daemon&) = delete;

  wire::Endpoint endpoint() const { return endpoint_; }  // that it listens on
  wire::Endpoint head() const { return head_endpoint_; }
  // Of one that has the head: what the head knows now.
  ClusterReport report();
  // Asks the head to give it no more work; is_over follows when its jobs have gone elsewhere or after the time.
  void drain(std::chrono::nanoseconds within);

  static constexpr std::chrono::seconds kJoinTimeout{10};

 private:
  friend class HostedSite;
  friend class DetachedSite;
  friend class SiteServer;
  struct Joining;

  explicit Daemon(DaemonConfig config, std::optional<bundle::Cache> cache, std::unique_ptr<Network> network)
      : config_(std::move(config)), cache_(std::move(cache)), network_(std::move(network)) {}

  // daemon.cc
  Result<void> listen();
  void on_link(std::unique_ptr<wire::Link> link);
  wire::Endpoint advertised() const;
  wire::Endpoint head_for_me() const;
  std::string address_for_others() const;
  void log(const std::string& line) const {
    if (config_.log) config_.log(line);
  }
  // A peer that has the token and does what no rayx does: one line of a kind in a while, with how many there were.
  void log_refusal(const wire::Endpoint& peer, const std::string& why);
  void end_all_jobs(const std::string& why);

  // daemon_actors.cc: actors of the jobs here, and their links to other nodes
  using Placement = std::pair<registry::ActorId, registry::Incarnation>;
  // An actor that is to live here.
  struct Placed {
    registry::JobId job;
    bool is_detached = false;
    std::unique_ptr<registry::PlaceActor> waits;  // for the site of its job; nothing: the site has it
    wire::TimerId timer = 0;
  };
  void program_is_late(Placement placement, bool may_be_sent);
  void begin_detached(const registry::PlaceActor& place);
  enum class PlacedAs : std::uint8_t { kWaiting, kHandedOver };
  std::vector<Placement> placed_in(base::JobId job, bool is_detached, PlacedAs as) const;
  void forget_placed(std::map<Placement, Placed>::iterator found);
  void waiting_detached_fail(base::JobId job, const std::string& why);
  void look_whether_needed(base::JobId job);
  void site_is_open(HostedSite& server);
  void actors_are_lost(const HostedSite& site, const std::string& why);
  void report_ended(Placement placement, registry::EndCause cause, const std::string& why);
  const registry::NodeView* find_node(base::NodeId node) const;
  const registry::NodeView* node_after(base::NodeId node) const;  // another one, in their order
  head::MemberLink* member() override { return member_.get(); }
  void need_peer(const base::SiteId& from, const base::SiteId& to) override;
  void actor_was_ended(base::ActorId actor, registry::Incarnation incarnation) override;
  bool reads(const std::string& channel) override;
  void start_actor(const registry::PlaceActor& place) override;
  void end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) override;
  void actor_changed(const registry::ActorState& state) override;

  // daemon_member.cc: what the cluster wants of it, and what its jobs want of the cluster
  Result<void> join();
  void leave();
  void over(const std::string& why, bool was_asked = true);
  void admit(base::JobId job, std::function<void(Result<void>)> answer);
  void forget(HostedSite* server);
  HostedSite* site_of(base::JobId job, bool is_detached);
  HostedSite* server_of(base::JobId job) { return site_of(job, false); }
  void tell_readers(const std::string& channel, const std::function<void(relay::PlaceEvents&)>& tell);
  void look_whether_drained();
  void tell_load();
  void node_changed(const registry::NodeView& node) override;
  void job_ended(registry::JobId job, const std::string& why) override;
  void job_over(registry::JobId job) override;
  void subscribed(const std::string& channel, bool is_refused) override;
  void published(const registry::Published& message) override;
  void missed(const std::string& channel, std::optional<std::uint64_t> count) override;
  void drain(base::TimeNs within_ns, const std::string& reason) override;
  void left() override;
  void start_anew(const std::string& message) override;
  void is_over(const std::string& message) override;
  void head_is_away(const Error& error) override;
  void is_joined() override;

  const DaemonConfig config_;
  std::optional<bundle::Cache> cache_;  // of a node: a head alone is sent no program
  std::unique_ptr<Network> network_;
  std::unique_ptr<Workbench> bench_ = std::make_unique<Workbench>();
  wire::Endpoint endpoint_;
  wire::Endpoint head_endpoint_;
  std::shared_ptr<Joining> joining_;
  // The loop's thread.
  std::unique_ptr<wire::Listener> listener_;
  std::unique_ptr<head::HeadServer> head_server_;
  std::unique_ptr<head::MemberLink> member_;
  std::map<HostedSite*, std::shared_ptr<HostedSite>> servers_;
  std::map<FilesServer*, std::shared_ptr<FilesServer>> files_servers_;
  std::map<Placement, Placed> placed_;
  wire::TimerId load_timer_ = 0;
  base::TimeNs refusal_at_ns_ = -1;  // of the last line; -1: none yet
  std::uint64_t refusals_unsaid_ = 0;
  bool is_head_away_ = false;
  bool is_anew_ = false;  // it was given up
  bool is_draining_ = false;
  bool is_leaving_ = false;
  bool is_over_told_ = false;
  std::function<void()> has_left_;
};

}  // namespace rayx::host

// A registry::Member on the network: its link to the head, made again whenever it breaks, and its clock. All of it on the loop's
// thread.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "head/decider_timer.hpp"
#include "registry/member.hpp"
#include "wire/link.hpp"
#include "wire/loop.hpp"

namespace rayx::head {

// What comes of being a member. Called on the loop's thread; a call may use the MemberLink, but not end it.
class MemberHandler {
 public:
  virtual void node_changed(const registry::NodeView& node) = 0;
  virtual void start_actor(const registry::PlaceActor& place) = 0;
  virtual void end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) = 0;
  virtual void job_ended(registry::JobId job, const std::string& why) = 0;
  virtual void job_over(registry::JobId job) = 0;
  virtual void actor_changed(const registry::ActorState& state) = 0;
  // Of channels that this process reads: see registry::MemberEffects.
  virtual void subscribed(const std::string& channel, bool is_refused) = 0;
  virtual void published(const registry::Published& message) = 0;
  virtual void missed(const std::string& channel, std::optional<std::uint64_t> count) = 0;
  virtual void drain(base::TimeNs within_ns, const std::string& reason) = 0;
  virtual void left() = 0;
  // All that runs for the cluster is to end now; then rejoin.
  virtual void start_anew(const std::string& message) = 0;
  // It is no member any more, and will be none.
  virtual void is_over(const std::string& message) = 0;
  // No link to the head could be made, or it was lost; it is tried again. kSystemError and kTimeout: it may be there later. Any other
  // code: what answers there is no head of this cluster.
  virtual void head_is_away(const Error& error) = 0;
  // The first view of the cluster over a new link is complete: node_changed has named all that it did not know.
  virtual void is_joined() = 0;

 protected:
  ~MemberHandler() = default;
};

class MemberLink final : private registry::MemberEffects {
 public:
  using Answered = std::function<void(const registry::Answer&)>;

  // `config` without a hello.
  MemberLink(wire::Loop& loop, wire::Endpoint head, wire::LinkConfig config, registry::Identity identity,
             MemberHandler& handler);
  ~MemberLink() override;
  MemberLink(const MemberLink&) = delete;
  MemberLink& operator=(const MemberLink&) = delete;

  void start();
  void rejoin(registry::NodeId node);
  // Answered once; at once where too many are open or it is no member: then with kFull or kLost.
  void request(registry::RequestBody body, Answered answered);
  // For what has no answer: watch, set_load, actor_alive and the like.
  registry::Member& member() { return member_; }
  const wire::Endpoint& head() const { return head_; }

 private:
  class Connection;

  void connect(std::uint64_t session) override;
  void send(registry::ConnectionId to, registry::ToHead message) override;
  void close(registry::ConnectionId connection) override;
  void answered(const registry::Answer& answer) override;
  void node_changed(const registry::NodeView& node) override { handler_.node_changed(node); }
  void start_actor(const registry::PlaceActor& place) override { handler_.start_actor(place); }
  void end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) override {
    handler_.end_actor(actor, incarnation, cause);
  }
  void job_ended(registry::JobId job, const std::string& why) override { handler_.job_ended(job, why); }
  void job_over(registry::JobId job) override { handler_.job_over(job); }
  void actor_changed(const registry::ActorState& state) override { handler_.actor_changed(state); }
  void subscribed(const std::string& channel, bool is_refused) override { handler_.subscribed(channel, is_refused); }
  void published(const registry::Published& message) override { handler_.published(message); }
  void missed(const std::string& channel, std::optional<std::uint64_t> count) override {
    handler_.missed(channel, count);
  }
  void drain(base::TimeNs within_ns, const std::string& reason) override { handler_.drain(within_ns, reason); }
  void left() override { handler_.left(); }
  void start_anew(const std::string& message) override { handler_.start_anew(message); }
  void end_yourself(const std::string& message) override;
  void took(const registry::ToMember& message);

  wire::Loop& loop_;
  const wire::Endpoint head_;
  wire::LinkConfig config_;
  MemberHandler& handler_;
  registry::Member member_;
  DeciderTimer timer_;
  std::unique_ptr<wire::Connector> connector_;
  std::map<registry::ConnectionId, std::unique_ptr<Connection>> connections_;
  registry::ConnectionId last_connection_ = 0;
  std::map<registry::RequestNumber, Answered> waiting_;
  bool has_view_ = false;
};

}  // namespace rayx::head

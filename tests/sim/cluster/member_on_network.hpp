// A process with a registry::Member in it, on the simulated network: its clock, its timer and its connection to the head. What
// its program does, and what becomes of its actors, is said by who derives from it.
#pragma once

#include <functional>
#include <memory>

#include "network.hpp"
#include "registry/member.hpp"

namespace rayx::sim {

// The head may say one message to many: they share it, as they would share its bytes.
using ToMemberPtr = std::shared_ptr<const registry::ToMember>;

class MemberOnNetwork : public EndpointOf<ToMemberPtr>, protected registry::MemberEffects {
 public:
  MemberOnNetwork(Events& events, Network& network, HostId host, registry::Identity identity)
      : events_(events), network_(network), host_(host), member_(std::move(identity), *this) {}

  // Runs now, or when the process can.
  virtual void run(const std::function<void()>& what) = 0;

  EndpointId me() const { return me_; }
  HostId host() const { return host_; }
  bool is_driver() const { return member_.identity().kind != registry::MemberKind::kNode; }
  const registry::Member& member() const { return member_; }

 protected:
  virtual EndpointId head_at() const = 0;  // 0: it is not there
  // What the member is to hear of what came. The reference is used at once.
  virtual const registry::ToMember& heard(const registry::ToMember& message) { return message; }

  void attach() { me_ = network_.attach(host_, *this); }
  void arm();
  // Unless the process is no more.
  void after(TimeNs delay, std::function<void()> what);

  // MemberEffects
  void connect(std::uint64_t session) override;
  void send(ConnectionId to, registry::ToHead message) override;
  void close(ConnectionId connection) override { network_.close(me_, connection); }

  Events& events_;
  Network& network_;
  const HostId host_;
  EndpointId me_ = 0;
  registry::Member member_;

 private:
  // Endpoint
  void on_connected(std::uint64_t session, ConnectionId connection) override;
  void on_connect_failed(std::uint64_t session) override;
  void on_closed(ConnectionId connection) override;
  void on_message(ConnectionId connection, ToMemberPtr message) override;

  TimeNs armed_ = base::kNever;
  const std::shared_ptr<bool> is_there_ = std::make_shared<bool>(true);  // for what is to happen later
};

}  // namespace rayx::sim

// The links of one site to the job's sites on other nodes: made when a relay needs one, or when another node asks. Loop's thread.
#pragma once

#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "host/peer_session.hpp"
#include "registry/messages.hpp"
#include "wire/token.hpp"

namespace rayx::host {

class SitePeers {
 public:
  // `find`: what the cluster knows of a node, nullptr if it has none such.
  SitePeers(wire::Loop& loop, relay::Relay& relay, wire::LinkConfig config, base::NodeId me, base::JobId job,
            std::function<const registry::NodeView*(base::NodeId)> find)
      : loop_(loop), relay_(relay), config_(std::move(config)), me_(me), job_(job), find_(std::move(find)) {}
  ~SitePeers();
  SitePeers(const SitePeers&) = delete;
  SitePeers& operator=(const SitePeers&) = delete;

  // Relay::add_peer follows, or peer_failed.
  void need(base::NodeId node);
  void answer(base::NodeId from, std::unique_ptr<wire::Link> link);
  // It is dead: who waits for a link hears it at once.
  void node_is_gone(base::NodeId node, const std::string& why);

 private:
  struct Other {
    std::shared_ptr<PeerSession> session;
    base::TimeNs until_ns = 0;  // for how long it is tried
    std::chrono::milliseconds pause{0};
    wire::TimerId timer = 0;
    bool is_needed_again = false;  // the relay has asked between the end of the link and its end here
  };
  void ask(base::NodeId node);
  void was_closed(base::NodeId node, const std::string& why);
  void drop(base::NodeId node, const std::string& why);

  wire::Loop& loop_;
  relay::Relay& relay_;
  const wire::LinkConfig config_;
  const base::NodeId me_;
  const base::JobId job_;
  const std::function<const registry::NodeView*(base::NodeId)> find_;
  std::map<base::NodeId, Other> others_;
};

}  // namespace rayx::host

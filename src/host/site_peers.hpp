// The links of one site to others, of its job and of other jobs: made when a relay needs one, or when another one asks. Loop's thread.
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
  SitePeers(wire::Loop& loop, relay::Relay& relay, wire::LinkConfig config, base::SiteId me,
            std::function<const registry::NodeView*(base::NodeId)> find)
      : loop_(loop), relay_(relay), config_(std::move(config)), me_(me), find_(std::move(find)) {}
  ~SitePeers();
  SitePeers(const SitePeers&) = delete;
  SitePeers& operator=(const SitePeers&) = delete;

  // Relay::add_peer follows, or peer_failed.
  void need(const base::SiteId& site);
  void need(base::NodeId node) { need({node, me_.job, false}); }
  void answer(const base::SiteId& from, std::unique_ptr<wire::Link> link);
  // It is dead: who waits for a link hears it at once.
  void node_is_gone(base::NodeId node, const std::string& why);

 private:
  struct Other {
    std::shared_ptr<PeerSession> session;
    base::TimeNs until_ns = 0;  // for how long it is tried
    std::chrono::milliseconds pause{0};
    wire::TimerId timer = 0;
    bool is_answered = false;      // the other one has asked
    bool is_needed_again = false;  // the relay has asked between the end of the link and its end here
  };
  // How the relay calls it.
  base::NodeId name_of(const base::SiteId& site) const {
    return me_.is_one_with(site) ? site.node : base::alias_of(site);
  }
  base::NodeId my_name_for(const base::SiteId& site) const {
    return me_.is_one_with(site) ? base::NodeId{} : base::alias_of(me_);
  }
  void ask(const base::SiteId& site);
  void was_closed(const base::SiteId& site, const std::string& why);
  void drop(const base::SiteId& site, const std::string& why);

  wire::Loop& loop_;
  relay::Relay& relay_;
  const wire::LinkConfig config_;
  const base::SiteId me_;
  const std::function<const registry::NodeView*(base::NodeId)> find_;
  std::map<base::SiteId, Other> others_;
};

}  // namespace rayx::host

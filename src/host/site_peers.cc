#include "host/site_peers.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "wire/endpoint.hpp"

namespace rayx::host {
namespace {

// The driver may still be sending the program there.
constexpr std::chrono::seconds kPeerPatience{30};
constexpr std::chrono::milliseconds kPauseMin{10};
constexpr std::chrono::milliseconds kPauseMax{1'000};

}  // namespace

SitePeers::~SitePeers() {
  for (auto& [site, other] : others_) {
    loop_.cancel(other.timer);
    if (other.session != nullptr) other.session->end("the site of the job ends");
  }
}

void SitePeers::need(const base::SiteId& site) {
  const auto [other, is_new] = others_.try_emplace(site);
  if (!is_new) {
    const auto& session = other->second.session;
    if (session != nullptr && session->has_been_open() && !session->is_open()) other->second.is_needed_again = true;
    return;
  }
  other->second.until_ns = loop_.now_ns() + std::chrono::nanoseconds(kPeerPatience).count();
  ask(site);
}

void SitePeers::ask(const base::SiteId& site) {
  Other& other = others_.at(site);
  other.timer = 0;
  other.is_answered = false;
  const registry::NodeView* const view = find_(site.node);
  if (view == nullptr) return drop(site, "the cluster has no such node");
  const Result<wire::Endpoint> endpoint = wire::Endpoint::parse(view->address);
  if (!endpoint) return drop(site, endpoint.error().message);
  wire::LinkConfig config = config_;
  config.hello = encode(PeerHello{site, me_});
  config.options.resume_patience = wire::kResumePatience;
  other.session = std::make_shared<PeerSession>(loop_, relay_, name_of(site), my_name_for(site),
                                                [this, site](const std::string& why) { was_closed(site, why); });
  other.session->ask(*endpoint, config);
}

// Two that ask each other at the same time: the question of the one with the lower number counts.
void SitePeers::answer(const base::SiteId& from, std::unique_ptr<wire::Link> link) {
  Other& other = others_[from];
  if (other.session != nullptr) {
    // Who asks again has given the link of before up, which this end may not have noticed.
    const bool asks_again = other.is_answered;
    if (!asks_again && (other.session->is_open() || from > me_)) return link->close("there is another link already");
    other.session->end(asks_again ? "the other end has made another link" : "the other node asks itself");
  }
  loop_.cancel(std::exchange(other.timer, 0));
  other.is_answered = true;
  other.session = std::make_shared<PeerSession>(loop_, relay_, name_of(from), my_name_for(from),
                                                [this, from](const std::string& why) { was_closed(from, why); });
  other.session->answer(std::move(link));
}

void SitePeers::was_closed(const base::SiteId& site, const std::string& why) {
  Other& other = others_.at(site);
  const bool is_hopeless = other.until_ns == 0 || loop_.now_ns() >= other.until_ns || find_(site.node) == nullptr;
  if (other.session->has_been_open()) {
    const bool is_needed_again = other.is_needed_again;
    drop(site, why);
    if (is_needed_again) need(site);
    return;
  }
  other.session.reset();
  if (is_hopeless) return drop(site, why);
  other.pause = std::clamp(2 * other.pause, kPauseMin, kPauseMax);
  other.timer = loop_.call_after(other.pause, [this, site] { ask(site); });
}

void SitePeers::node_is_gone(base::NodeId node, const std::string& why) {
  std::vector<base::SiteId> gone;
  for (const auto& [site, other] : others_)
    if (site.node == node) gone.push_back(site);
  for (const base::SiteId& site : gone) drop(site, why);
}

void SitePeers::drop(const base::SiteId& gone, const std::string& why) {
  const base::SiteId site = gone;  // it may be the key itself
  const auto found = others_.find(site);
  loop_.cancel(found->second.timer);
  const std::shared_ptr<PeerSession> session = std::move(found->second.session);
  const bool was_open = session != nullptr && session->has_been_open();
  others_.erase(found);
  if (session != nullptr) session->end(why);
  if (!was_open) relay_.peer_failed(name_of(site), why);
}

}  // namespace rayx::host

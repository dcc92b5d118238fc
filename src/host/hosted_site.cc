#include "host/hosted_site.hpp"

#include "host/daemon.hpp"

namespace rayx::host {

void HostedSite::open_places() {
  const base::SiteId me{job_->about().node, job(), is_detached_};
  peers_ = std::make_unique<SitePeers>(daemon_.network_->loop(), relay(),
                                       wire::LinkConfig{daemon_.config_.token, daemon_.config_.tls, {}, {}}, me,
                                       [&daemon = daemon_](base::NodeId node) { return daemon.find_node(node); });
  places().open(me, relay(), text_for_head(job_->about()));
  daemon_.site_is_open(*this);
}

void HostedSite::close_places(const std::string& why) {
  peers_.reset();
  places().close();
  daemon_.actors_are_lost(*this, why);
}

}  // namespace rayx::host

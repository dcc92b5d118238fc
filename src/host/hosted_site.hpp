// A site of a job on this node, whoever has begun it: a driver, over its link (SiteServer), or the node itself (DetachedSite). Loop's
// thread.
#pragma once

#include <memory>
#include <string>

#include "host/job.hpp"
#include "host/site_peers.hpp"

namespace rayx::host {

class Daemon;

class HostedSite {
 public:
  HostedSite(Daemon& daemon, bool is_detached) : daemon_(daemon), is_detached_(is_detached) {}
  virtual ~HostedSite() = default;
  HostedSite(const HostedSite&) = delete;
  HostedSite& operator=(const HostedSite&) = delete;

  virtual bool is_open() const = 0;
  virtual void end(const std::string& why) = 0;

  bool is_detached() const { return is_detached_; }
  base::JobId job() const { return job_ == nullptr ? base::JobId{} : job_->about().job; }
  // While it is open:
  const shm::Arena& arena() { return job_->site()->node().arena(); }
  relay::Relay& relay() { return job_->site()->relay(); }
  SitePlaces& places() { return job_->places(); }
  SitePeers& peers() { return *peers_; }

 protected:
  void open_places();
  void close_places(const std::string& why);

  Daemon& daemon_;
  const bool is_detached_;
  std::shared_ptr<Job> job_;
  std::unique_ptr<SitePeers> peers_;  // while it is open
};

}  // namespace rayx::host

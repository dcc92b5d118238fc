// A cluster without a network: the real head and one real member for each site, in one thread, for the sites of sites.hpp.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "registry/head.hpp"
#include "registry/member.hpp"
#include "relay/places.hpp"
#include "relay/relay.hpp"

namespace rayx::relay::test {

class TestCluster final : private registry::HeadEffects {
 public:
  // `link(from, to)`: makes the sites a link, or says why not.
  explicit TestCluster(std::function<std::string(std::size_t from, std::size_t to)> link);
  ~TestCluster() override;

  // Site 0 is the driver's, and starts the job. The Places are for its relay, which `attach` names.
  Places& add_member(base::NodeId node, int cpus, const base::Labels& labels);
  void attach(std::size_t site, Relay& relay);
  // The site's member says nothing any more, and the head hears that its link is closed.
  void lose(std::size_t site);
  // Its tasks go elsewhere: as `rayx drain`.
  void drain(std::size_t site);
  // Nothing is told to any relay any more.
  void stop();

 private:
  class SiteMember;
  void post(std::function<void()> event);
  void run();
  base::TimeNs now() const { return clock_.now_ns(); }

  void send(registry::ConnectionId to, registry::ToMember message) override;
  void close(registry::ConnectionId) override {}
  void persist(registry::BatchId batch, std::vector<registry::Write>) override { head_.on_persisted(batch, now()); }

  base::SteadyClock clock_;
  std::function<std::string(std::size_t, std::size_t)> link_;
  registry::Head head_{registry::HeadOptions{.cluster = 1}, *this};
  std::vector<std::unique_ptr<SiteMember>> members_;
  std::map<registry::ConnectionId, std::size_t> site_of_;
  registry::ConnectionId last_connection_ = 0;
  base::JobId job_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> events_;
  bool is_stopping_ = false;
  std::thread thread_;
};

}  // namespace rayx::relay::test

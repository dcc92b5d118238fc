// The cluster's head on a simulated host: the real registry::Head, its disk, and that it is killed and started again.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "member_on_network.hpp"
#include "network.hpp"
#include "registry/head.hpp"

namespace rayx::sim {

class HeadHost {
 public:
  HeadHost(Events& events, Network& network, Chance& chance, HostId host)
      : events_(events), network_(network), chance_(chance), host_(host) {}
  void start();
  void kill();  // and comes again after a while
  EndpointId at() const { return process_ == nullptr ? 0 : process_->me; }
  std::uint64_t lives() const { return life_; }

 private:
  struct Process final : EndpointOf<registry::ToHead>, registry::HeadEffects {
    Process(HeadHost& host, std::uint64_t life);
    void on_accepted(ConnectionId connection) override;
    void on_connected(std::uint64_t, ConnectionId) override {}
    void on_connect_failed(std::uint64_t) override {}
    void on_closed(ConnectionId connection) override;
    void on_message(ConnectionId connection, registry::ToHead message) override;
    void send(ConnectionId to, registry::ToMember message) override;
    void send_shared(ConnectionId to, const registry::SharedMessage& message) override;
    void close(ConnectionId connection) override;
    void persist(registry::BatchId batch, std::vector<registry::Write> writes) override;
    void arm();

    HeadHost& host;
    const std::uint64_t life;
    EndpointId me = 0;
    registry::Head head;
    TimeNs armed = base::kNever;
  };

  Events& events_;
  Network& network_;
  Chance& chance_;
  const HostId host_;
  std::uint64_t life_ = 0;
  std::unique_ptr<Process> process_;
  std::map<std::string, std::string> disk_;
  TimeNs disk_due_ = 0;
};

}  // namespace rayx::sim

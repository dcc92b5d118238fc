// A network of hosts with TCP's promises and no others: within a connection messages come in order, with any delay, or stop
// coming. It knows nothing of what is said: each endpoint is told messages of its own type.
//
// A connection that breaks loses an end of what was on its way in each direction, and its two sides hear of it at different
// times. One that is closed brings what was sent before, or loses an end of it. Between hosts that are cut off from each other,
// and to a frozen host, everything waits. A host that loses its power says nothing to anybody.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <typeinfo>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "events.hpp"

namespace rayx::sim {

using HostId = std::uint32_t;
using EndpointId = std::uint32_t;    // of one life of a process, never used twice
using ConnectionId = std::uint64_t;  // likewise

struct Packet {
  virtual ~Packet() = default;
};
template <class Message>
struct PacketOf final : Packet {
  explicit PacketOf(Message content) : message(std::move(content)) {}
  Message message;
};

class Endpoint {
 public:
  virtual ~Endpoint() = default;
  virtual void on_accepted(ConnectionId) {}
  virtual void on_connected(std::uint64_t token, ConnectionId connection) = 0;
  virtual void on_connect_failed(std::uint64_t token) = 0;
  virtual void on_closed(ConnectionId connection) = 0;  // by the other side, or broken
  virtual void deliver(ConnectionId connection, Packet& packet) = 0;
};
// One that is told Messages.
template <class Message>
class EndpointOf : public Endpoint {
 public:
  virtual void on_message(ConnectionId connection, Message message) = 0;
  void deliver(ConnectionId connection, Packet& packet) final {
    auto* mine = dynamic_cast<PacketOf<Message>*>(&packet);
    RAYX_CHECK(mine != nullptr, "an endpoint was sent what it does not understand", typeid(packet).name());
    on_message(connection, std::move(mine->message));
  }
};

struct NetworkFaults {
  int broken = 0;            // connections
  int lost = 0;              // messages that were on their way in one
  int late = 0;              // messages that were delayed by seconds
  int late_after_close = 0;  // messages that came after their sender had closed the connection
  int stalled = 0;           // deliveries that waited for a cut or a frozen host
  int failed_connects = 0;
};

class Network {
 public:
  Network(Events& events, Chance& chance) : events_(events), chance_(chance) {}

  // A process of a host begins and ends. Its host's kernel closes its connections, unless the host has lost its power.
  EndpointId attach(HostId host, Endpoint& endpoint);
  void detach(EndpointId endpoint, bool is_silent);
  HostId other_host(EndpointId endpoint, ConnectionId connection) const {
    const Connection& it = connections_.at(connection);
    return it.ends[it.ends[0].endpoint == endpoint ? 1 : 0].host;
  }
  bool is_attached(EndpointId endpoint) const { return endpoints_.contains(endpoint); }

  // on_connected or on_connect_failed follows, or nothing if the hosts are cut off.
  void connect(EndpointId from, EndpointId to, std::uint64_t token);
  template <class Message>
  void send(EndpointId from, ConnectionId connection, Message message) {
    push(from, connection, std::make_unique<PacketOf<Message>>(std::move(message)));
  }
  void close(EndpointId from, ConnectionId connection);
  // Who is connected to an endpoint that went silently gives it up.
  void give_up(EndpointId endpoint);

  // Faults.
  void set_delays(TimeNs usual, int one_in_is_late) {
    delay_ = usual;
    one_in_is_late_ = one_in_is_late;
  }
  void set_cut(HostId a, HostId b, bool is_cut);
  void set_frozen(HostId host, bool is_frozen);
  bool is_frozen(HostId host) const { return frozen_.contains(host); }
  bool is_cut(HostId a, HostId b) const { return are_cut(a, b); }
  // One of the connections by chance, none of the host that is `spared`. False: there is none.
  bool break_one(std::optional<HostId> spared = {});
  void heal();  // for good: no cut, nobody frozen, nothing late

  // When the last fault that touched this host ended.
  TimeNs disturbed_until(HostId host) const {
    const auto found = disturbed_.find(host);
    return found == disturbed_.end() ? 0 : found->second;
  }

  const NetworkFaults& faults() const { return faults_; }

 private:
  struct End {
    EndpointId endpoint = 0;
    HostId host = 0;
    bool is_open = true;  // as far as this side knows
  };
  struct Way {  // to one end
    struct Item {
      TimeNs due = 0;
      std::unique_ptr<Packet> packet;  // nothing: the connection is closed
    };
    std::deque<Item> items;
    TimeNs last_due = 0;
    bool is_over = false;  // nothing can be added
  };
  struct Connection {
    End ends[2];
    Way ways[2];  // ways[i] leads to ends[i]
  };
  struct Place {
    HostId host = 0;
    Endpoint* endpoint = nullptr;
  };

  void push(EndpointId from, ConnectionId id, std::unique_ptr<Packet> packet);
  void add(ConnectionId id, Connection& connection, int to, std::unique_ptr<Packet> packet);
  void end_way(ConnectionId id, Connection& connection, int to, bool may_lose);
  void pump(ConnectionId id, int to);
  void establish(EndpointId from, EndpointId to, std::uint64_t token);
  void pump_all();
  TimeNs delay();
  static std::pair<HostId, HostId> pair_of(HostId a, HostId b) { return {std::min(a, b), std::max(a, b)}; }
  void disturb(HostId host, TimeNs until) { disturbed_[host] = std::max(disturbed_[host], until); }
  bool are_cut(HostId a, HostId b) const { return !cuts_.empty() && cuts_.contains(pair_of(a, b)); }
  int side_of(const Connection& connection, EndpointId endpoint) const {
    return connection.ends[0].endpoint == endpoint ? 0 : 1;
  }

  Events& events_;
  Chance& chance_;
  TimeNs delay_ = kMillisecond;
  int one_in_is_late_ = 0;
  bool is_healed_ = false;
  std::map<EndpointId, Place> endpoints_;
  std::map<ConnectionId, Connection> connections_;
  std::set<std::pair<HostId, HostId>> cuts_;
  std::set<HostId> frozen_;
  std::map<HostId, TimeNs> disturbed_;
  EndpointId last_endpoint_ = 0;
  ConnectionId last_connection_ = 0;
  NetworkFaults faults_;
};

}  // namespace rayx::sim

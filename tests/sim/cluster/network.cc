#include "network.hpp"

namespace rayx::sim {

EndpointId Network::attach(HostId host, Endpoint& endpoint) {
  disturb(host, events_.now());
  endpoints_[++last_endpoint_] = {host, &endpoint};
  return last_endpoint_;
}

void Network::detach(EndpointId endpoint, bool is_silent) {
  endpoints_.erase(endpoint);
  for (auto& [id, connection] : connections_) {
    for (int side = 0; side < 2; ++side) {
      if (connection.ends[side].endpoint != endpoint) continue;
      connection.ends[side].is_open = false;
      if (is_silent) {
        faults_.lost += static_cast<int>(connection.ways[1 - side].items.size());
        connection.ways[1 - side].items.clear();
        connection.ways[1 - side].is_over = true;
      } else {
        end_way(id, connection, 1 - side, true);
      }
    }
  }
}

TimeNs Network::delay() {
  const TimeNs usual = delay_ / 10 + static_cast<TimeNs>(chance_.below(static_cast<std::uint64_t>(delay_)));
  if (one_in_is_late_ == 0 || !chance_.one_in(static_cast<std::uint64_t>(one_in_is_late_))) return usual;
  ++faults_.late;
  return usual + chance_.between(kSecond / 2, 6 * kSecond);
}

void Network::connect(EndpointId from, EndpointId to, std::uint64_t token) {
  const TimeNs after = delay();
  if (after > kSecond / 2) disturb(endpoints_.at(from).host, events_.now() + after);
  events_.after(after, [this, from, to, token] { establish(from, to, token); });
}

void Network::establish(EndpointId from, EndpointId to, std::uint64_t token) {
  const auto caller = endpoints_.find(from);
  if (caller == endpoints_.end()) return;
  const auto called = endpoints_.find(to);
  if (called == endpoints_.end()) {
    ++faults_.failed_connects;
    events_.after(delay(), [this, from, token] {
      const auto still = endpoints_.find(from);
      if (still != endpoints_.end() && !frozen_.contains(still->second.host))
        still->second.endpoint->on_connect_failed(token);
    });
    return;
  }
  // The kernel of a frozen host accepts; its process hears of it when it thaws.
  if (are_cut(caller->second.host, called->second.host)) {
    ++faults_.failed_connects;
    return;
  }
  const ConnectionId id = ++last_connection_;
  Connection& connection = connections_[id];
  connection.ends[0] = {from, caller->second.host};
  connection.ends[1] = {to, called->second.host};
  called->second.endpoint->on_accepted(id);
  const TimeNs after = delay();
  if (after > kSecond / 2) disturb(caller->second.host, events_.now() + after);
  events_.after(after, [this, from, token, id] {
    const auto still = endpoints_.find(from);
    if (still == endpoints_.end() || !connections_.contains(id)) return;
    // Thawed later, it finds the connection late and perhaps closed again.
    if (frozen_.contains(still->second.host)) return close(from, id);
    still->second.endpoint->on_connected(token, id);
  });
}

void Network::push(EndpointId from, ConnectionId id, std::unique_ptr<Packet> packet) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  const int side = side_of(found->second, from);
  if (found->second.ends[side].is_open) add(id, found->second, 1 - side, std::move(packet));
}

void Network::add(ConnectionId id, Connection& connection, int to, std::unique_ptr<Packet> packet) {
  Way& way = connection.ways[to];
  if (way.is_over) return;
  if (packet == nullptr) way.is_over = true;
  way.last_due = std::max(way.last_due, events_.now() + delay());
  if (way.last_due > events_.now() + kSecond / 2)
    for (const End& end : connection.ends) disturb(end.host, way.last_due);
  way.items.push_back({way.last_due, std::move(packet)});
  events_.at(way.last_due, [this, id, to] { pump(id, to); });
}

// The end of what is on its way may be lost.
void Network::end_way(ConnectionId id, Connection& connection, int to, bool may_lose) {
  Way& way = connection.ways[to];
  if (way.is_over) return;
  while (may_lose && !way.items.empty() && !chance_.one_in(3)) {
    way.items.pop_back();
    ++faults_.lost;
  }
  add(id, connection, to, nullptr);
}

void Network::close(EndpointId from, ConnectionId id) {
  const auto found = connections_.find(id);
  if (found == connections_.end()) return;
  const int side = side_of(found->second, from);
  if (!std::exchange(found->second.ends[side].is_open, false)) return;
  end_way(id, found->second, 1 - side, !is_healed_ && chance_.one_in(3));
}

void Network::give_up(EndpointId endpoint) {
  for (auto& [id, connection] : connections_) {
    for (int side = 0; side < 2; ++side) {
      if (connection.ends[side].endpoint != endpoint || !connection.ends[1 - side].is_open) continue;
      connection.ways[1 - side].is_over = false;
      add(id, connection, 1 - side, nullptr);
    }
  }
}

bool Network::break_one(std::optional<HostId> spared) {
  std::vector<ConnectionId> open;
  for (const auto& [id, connection] : connections_) {
    const auto& [a, b] = connection.ends;
    if (a.is_open && b.is_open && a.host != spared && b.host != spared) open.push_back(id);
  }
  if (open.empty()) return false;
  ++faults_.broken;
  const ConnectionId id = open[chance_.below(open.size())];
  Connection& connection = connections_.at(id);
  for (const End& end : connection.ends) disturb(end.host, events_.now());
  // Each side hears of it in its own time. What one still sends goes nowhere.
  for (int to = 0; to < 2; ++to) end_way(id, connection, to, true);
  return true;
}

void Network::pump(ConnectionId id, int to) {
  while (true) {
    const auto found = connections_.find(id);
    if (found == connections_.end()) return;
    Connection& connection = found->second;
    Way& way = connection.ways[to];
    if (way.items.empty() || way.items.front().due > events_.now()) return;
    End& end = connection.ends[to];
    if (are_cut(connection.ends[0].host, connection.ends[1].host) || frozen_.contains(end.host)) {
      ++faults_.stalled;
      return;  // until it is healed or thawed
    }
    const std::unique_ptr<Packet> packet = std::move(way.items.front().packet);
    way.items.pop_front();
    const auto place = endpoints_.find(end.endpoint);
    const bool is_heard = end.is_open && place != endpoints_.end();
    if (packet == nullptr) {
      end.is_open = false;
      // Neither side says anything any more.
      end_way(id, connection, 1 - to, true);
      if (is_heard) place->second.endpoint->on_closed(id);
      const auto again = connections_.find(id);
      if (again != connections_.end() && again->second.ways[0].items.empty() && again->second.ways[1].items.empty() &&
          !again->second.ends[0].is_open && !again->second.ends[1].is_open)
        connections_.erase(again);
      return;
    }
    if (!is_heard) continue;
    if (!connection.ends[1 - to].is_open) ++faults_.late_after_close;
    place->second.endpoint->deliver(id, *packet);
  }
}

void Network::pump_all() {
  for (const auto& [id, connection] : connections_)
    for (int to = 0; to < 2; ++to)
      if (!connection.ways[to].items.empty()) events_.after(delay(), [this, id = id, to] { pump(id, to); });
}

void Network::set_cut(HostId a, HostId b, bool is_cut) {
  disturb(a, events_.now());
  disturb(b, events_.now());
  if (is_cut) {
    cuts_.insert(pair_of(a, b));
  } else if (cuts_.erase(pair_of(a, b)) > 0) {
    pump_all();
  }
}

void Network::set_frozen(HostId host, bool is_frozen) {
  disturb(host, events_.now());
  if (is_frozen) {
    frozen_.insert(host);
  } else if (frozen_.erase(host) > 0) {
    pump_all();
  }
}

void Network::heal() {
  for (const auto& [a, b] : cuts_) disturb(a, events_.now()), disturb(b, events_.now());
  for (const HostId host : frozen_) disturb(host, events_.now());
  cuts_.clear();
  frozen_.clear();
  one_in_is_late_ = 0;
  is_healed_ = true;
  pump_all();
}

}  // namespace rayx::sim

#include "member_on_network.hpp"

namespace rayx::sim {

void MemberOnNetwork::after(TimeNs delay, std::function<void()> what) {
  events_.after(delay, [this, there = std::weak_ptr<bool>(is_there_), what = std::move(what)] {
    if (!there.expired()) run(what);
  });
}

void MemberOnNetwork::arm() {
  const TimeNs deadline = member_.next_deadline_ns();
  if (deadline >= armed_) return;
  armed_ = deadline;
  after(deadline - events_.now(), [this, deadline] {
    if (armed_ != deadline) return;
    armed_ = base::kNever;
    member_.tick(events_.now());
  });
}

void MemberOnNetwork::on_connected(std::uint64_t session, ConnectionId connection) {
  run([=, this] { member_.on_connected(session, connection, events_.now()); });
}
void MemberOnNetwork::on_connect_failed(std::uint64_t session) {
  run([=, this] { member_.on_connect_failed(session, events_.now()); });
}
void MemberOnNetwork::on_closed(ConnectionId connection) {
  run([=, this] { member_.on_closed(connection, events_.now()); });
}
void MemberOnNetwork::on_message(ConnectionId connection, ToMemberPtr message) {
  const registry::ToMember& what = heard(*message);
  run([&] { member_.on_message(connection, what, events_.now()); });
}

void MemberOnNetwork::connect(std::uint64_t session) {
  if (const EndpointId head = head_at(); head != 0) {
    network_.connect(me_, head, session);
  } else {
    after(kMillisecond, [this, session] { member_.on_connect_failed(session, events_.now()); });
  }
}
void MemberOnNetwork::send(ConnectionId to, registry::ToHead message) { network_.send(me_, to, std::move(message)); }

}  // namespace rayx::sim

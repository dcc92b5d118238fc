#include "head/member_link.hpp"

#include <utility>
#include <variant>

#include "head/head_server.hpp"
#include "registry/message_codec.hpp"

namespace rayx::head {

class MemberLink::Connection final : public wire::LinkHandler {
 public:
  Connection(MemberLink& owner, registry::ConnectionId id, std::unique_ptr<wire::Link> link)
      : owner_(owner), id_(id), link_(std::move(link)) {}

  void open() { link_->open(*this); }
  void send(const std::string& bytes) { link_->send(std::as_bytes(std::span(bytes))); }
  void close() {
    is_closed_ = true;
    link_->close("this member has no further use for the link");
  }

 private:
  void on_control(std::span<const std::byte> bytes) override {
    if (is_closed_) return;
    Result<registry::ToMember> message =
        registry::decode_to_member({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    if (!message) return link_->close(message.error().message);
    has_heard_ = true;
    owner_.member_.on_message(id_, *message, owner_.loop_.now_ns());
    owner_.took(*message);
    owner_.timer_.set();
  }
  std::span<std::byte> on_payload(const wire::PayloadChunk&) override { return {}; }
  void on_payload_end(const wire::PayloadChunk&) override {}
  void on_closed(const wire::CloseReason& reason) override {
    MemberLink& owner = owner_;
    const registry::ConnectionId id = id_;
    const bool was_known = is_closed_;
    const std::string message = "the link to the head at " + owner.head_.text() + " is gone: " + reason.message;
    // Who closes before the first word of a head has seen what this end is, and has no use for it.
    const ErrorCode code =
        reason.kind == wire::CloseKind::kByPeer && !has_heard_ ? ErrorCode::kInvalidConfig : ErrorCode::kSystemError;
    owner.connections_.erase(id);  // and this
    if (was_known) return;
    owner.member_.on_closed(id, owner.loop_.now_ns());
    owner.handler_.head_is_away({code, message});
    owner.timer_.set();
  }

  MemberLink& owner_;
  const registry::ConnectionId id_;
  std::unique_ptr<wire::Link> link_;
  bool is_closed_ = false;
  bool has_heard_ = false;
};

MemberLink::MemberLink(wire::Loop& loop, wire::Endpoint head, wire::LinkConfig config, registry::Identity identity,
                       MemberHandler& handler)
    : loop_(loop),
      head_(std::move(head)),
      config_(std::move(config)),
      handler_(handler),
      member_(std::move(identity), *this),
      timer_(
          loop, [this] { return member_.next_deadline_ns(); }, [this](base::TimeNs now_ns) { member_.tick(now_ns); }) {
  config_.set_hello(kMemberHello);
  config_.options.control_bytes_max = wire::kControlBytesCeiling;
}

MemberLink::~MemberLink() = default;

void MemberLink::start() {
  member_.start(loop_.now_ns());
  timer_.set();
}

void MemberLink::rejoin(registry::NodeId node) {
  member_.rejoin(node, loop_.now_ns());
  timer_.set();
}

void MemberLink::request(registry::RequestBody body, Answered answered) {
  const registry::RequestNumber number = member_.request(std::move(body));
  if (number != 0) {
    waiting_.emplace(number, std::move(answered));
    return;
  }
  const bool is_full = member_.open_requests().size() >= registry::kOpenRequestsMax;
  answered(
      {0,
       is_full ? registry::Status::kFull : registry::Status::kLost,
       is_full ? "this process asks the head for more than it can answer" : "this process is not part of a cluster",
       {}});
}

void MemberLink::answered(const registry::Answer& answer) {
  auto waiting = waiting_.extract(answer.number);
  if (waiting) waiting.mapped()(answer);
}

void MemberLink::end_yourself(const std::string& message) { handler_.is_over(message); }

void MemberLink::took(const registry::ToMember& message) {
  const auto* const view = std::get_if<registry::View>(&message);
  if (view == nullptr || !view->is_last || !member_.is_joined() || std::exchange(has_view_, true)) return;
  handler_.is_joined();
}

void MemberLink::connect(std::uint64_t session) {
  connector_ = std::make_unique<wire::Connector>(
      loop_, head_, config_,
      [this, session](Result<std::unique_ptr<wire::Link>> made) {
        if (!made) {
          member_.on_connect_failed(session, loop_.now_ns());
          handler_.head_is_away(made.error());
          return timer_.set();
        }
        has_view_ = false;
        const registry::ConnectionId id = ++last_connection_;
        auto connection = std::make_unique<Connection>(*this, id, std::move(*made));
        connection->open();
        connections_.emplace(id, std::move(connection));
        member_.on_connected(session, id, loop_.now_ns());
        timer_.set();
      },
      std::chrono::milliseconds(registry::kConnectTimeout_ns / registry::kMillisecond_ns));
}

void MemberLink::send(registry::ConnectionId to, registry::ToHead message) {
  const auto found = connections_.find(to);
  if (found != connections_.end()) found->second->send(registry::encode(message));
}

void MemberLink::close(registry::ConnectionId connection) {
  const auto found = connections_.find(connection);
  if (found != connections_.end()) found->second->close();
}

}  // namespace rayx::head

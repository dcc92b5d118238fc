#include "host/peer_session.hpp"

#include <cstring>
#include <string_view>
#include <utility>

namespace rayx::host {
namespace {

constexpr std::string_view kPeerHello = "rayx peer 2";

constexpr std::uint64_t kDetached = std::uint64_t{1} << 32;  // beside the job's number

std::uint64_t program_of(const base::SiteId& site) { return site.job.value | (site.is_detached ? kDetached : 0); }
std::optional<base::SiteId> site_of(std::uint64_t node, std::uint64_t program) {
  const base::JobId job{static_cast<std::uint32_t>(program)};
  if (node == 0 || !job || program >= 2 * kDetached) return std::nullopt;
  return base::SiteId{{node}, job, (program & kDetached) != 0};
}

}  // namespace

std::vector<std::byte> encode(const PeerHello& hello) {
  const std::uint64_t numbers[] = {hello.to.node.value, program_of(hello.to), hello.from.node.value,
                                   program_of(hello.from)};
  std::vector<std::byte> bytes(kPeerHello.size() + sizeof(numbers));
  std::memcpy(bytes.data(), kPeerHello.data(), kPeerHello.size());
  std::memcpy(bytes.data() + kPeerHello.size(), numbers, sizeof(numbers));
  return bytes;
}

std::optional<PeerHello> decode_peer_hello(std::span<const std::byte> bytes) {
  std::uint64_t numbers[4];
  if (bytes.size() != kPeerHello.size() + sizeof(numbers)) return std::nullopt;
  if (std::memcmp(bytes.data(), kPeerHello.data(), kPeerHello.size()) != 0) return std::nullopt;
  std::memcpy(numbers, bytes.data() + kPeerHello.size(), sizeof(numbers));
  const std::optional<base::SiteId> to = site_of(numbers[0], numbers[1]);
  const std::optional<base::SiteId> from = site_of(numbers[2], numbers[3]);
  if (!to || !from || *to == *from) return std::nullopt;
  return PeerHello{*to, *from};
}

void PeerSession::ask(const wire::Endpoint& endpoint, const wire::LinkConfig& config) {
  name_ = endpoint.text();
  connector_ = std::make_unique<wire::Connector>(loop_, endpoint, config,
                                                 [self = shared_from_this()](Result<std::unique_ptr<wire::Link>> made) {
                                                   if (!made) return self->over(made.error().message);
                                                   self->link_ = std::move(*made);
                                                   self->link_->open(*self);
                                                 });
}

void PeerSession::answer(std::unique_ptr<wire::Link> link) {
  link_ = std::move(link);
  name_ = link_->peer().text();
  link_->open(*this);
  open();
}

void PeerSession::open() {
  peer_ = std::make_shared<NetworkPeer>(loop_, *link_);
  peer_id_ = relay_.add_peer("the node " + name_, peer_, other_, known_as_);
}

void PeerSession::on_control(std::span<const std::byte> bytes) {
  if (peer_ == nullptr) open();
  const Result<void> received = relay_.receive(peer_id_, bytes);
  if (!received) link_->close(received.error().message);
}

void PeerSession::on_writable() {
  if (peer_ == nullptr) return;
  peer_->became_writable();
  relay_.peer_is_writable(peer_id_);
}

void PeerSession::over(const std::string& why) {
  if (peer_ != nullptr) {
    peer_->close();
    relay_.remove_peer(peer_id_, why);
    peer_.reset();
  }
  loop_.post([self = shared_from_this(), why] {
    self->connector_.reset();
    self->link_.reset();
    if (self->ended_) std::exchange(self->ended_, nullptr)(why);
  });
}

void PeerSession::end(const std::string& why) {
  ended_ = nullptr;
  if (peer_ != nullptr) {
    peer_->close();
    relay_.remove_peer(peer_id_, why);
    peer_.reset();
  }
  connector_.reset();
  link_.reset();
}

}  // namespace rayx::host

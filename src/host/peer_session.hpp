// A link between two sites, of one job or of two, seen from either end: what their relays say to each other. Loop's thread.
//
// Who asks says in its hello which site it means, and which it is itself. Who answers closes, if it has no such site (any
// more, or yet), or the relays speak at once: its first frame tells the asker that it is let in.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/cluster_ids.hpp"
#include "host/network_peer.hpp"
#include "relay/relay.hpp"
#include "wire/link.hpp"

namespace rayx::host {

struct PeerHello {
  base::SiteId to;
  base::SiteId from;
};
std::vector<std::byte> encode(const PeerHello& hello);
// Nothing: the link is for something else.
std::optional<PeerHello> decode_peer_hello(std::span<const std::byte> bytes);

class PeerSession final : public wire::LinkHandler, public std::enable_shared_from_this<PeerSession> {
 public:
  // `ended`: once, not from within a call and not after end(): the link is closed, however far it had come.
  // `other`, `known_as`: see Relay::add_peer.
  PeerSession(wire::Loop& loop, relay::Relay& relay, base::NodeId other, base::NodeId known_as,
              std::function<void(const std::string&)> ended)
      : loop_(loop), relay_(relay), other_(other), known_as_(known_as), ended_(std::move(ended)) {}

  void ask(const wire::Endpoint& endpoint, const wire::LinkConfig& config);  // with a PeerHello
  void answer(std::unique_ptr<wire::Link> link);
  void end(const std::string& why);
  bool is_open() const { return peer_ != nullptr; }
  bool has_been_open() const { return peer_id_ != 0; }

 private:
  void open();
  void over(const std::string& why);
  void on_control(std::span<const std::byte> bytes) override;
  std::span<std::byte> on_payload(const wire::PayloadChunk& chunk) override {
    return relay_.place_for_value(peer_id_, chunk.stream, chunk.offset, chunk.bytes);
  }
  void on_payload_end(const wire::PayloadChunk& chunk) override {
    relay_.value_arrived(peer_id_, chunk.stream, chunk.bytes);
  }
  void on_writable() override;
  void on_closed(const wire::CloseReason& reason) override { over(reason.message); }

  wire::Loop& loop_;
  relay::Relay& relay_;
  const base::NodeId other_;
  const base::NodeId known_as_;
  std::function<void(const std::string&)> ended_;
  std::string name_;
  std::unique_ptr<wire::Connector> connector_;
  std::unique_ptr<wire::Link> link_;
  std::shared_ptr<NetworkPeer> peer_;
  relay::PeerId peer_id_ = 0;
};

}  // namespace rayx::host

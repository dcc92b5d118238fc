// A driver's end of a link to a node: opens a site of its job there, sends what the program consists of, and then carries the
// relays' frames. Loop's thread.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "bundle/running_program.hpp"
#include "host/network.hpp"
#include "host/network_peer.hpp"
#include "host/site_messages.hpp"
#include "relay/site.hpp"
#include "wire/link.hpp"

namespace rayx::host {

class SiteClient final : public wire::LinkHandler, public std::enable_shared_from_this<SiteClient> {
 public:
  struct About {
    OpenSite open;
    bundle::RunningProgram program;
  };
  SiteClient(Network& network, relay::Site& mine, std::shared_ptr<const About> about, base::NodeId id)
      : network_(network), node_(mine.node()), relay_(mine.relay()), about_(std::move(about)), id_(id) {}

  // Answers once: the site is open, or what went wrong. `lost` says once that the link is closed, however far it had come; the relay
  // has heard of it then. Neither is called after end().
  void begin(const wire::Endpoint& endpoint, const wire::Token& token, wire::TlsPolicy tls,
             std::function<void(Result<void>)> answer, std::function<void(const std::string&)> lost);
  // Asks the node to end the job's processes, and answers when they have ended and what they printed was taken.
  void leave(std::function<void()> left);
  // The node is being drained: it gets no further task, and is left when it has none.
  void drain();
  void end();

 private:
  void on_control(std::span<const std::byte> bytes) override;
  std::span<std::byte> on_payload(const wire::PayloadChunk& chunk) override {
    return relay_.place_for_value(peer_id_, chunk.stream, chunk.offset, chunk.bytes);
  }
  void on_payload_end(const wire::PayloadChunk& chunk) override {
    relay_.value_arrived(peer_id_, chunk.stream, chunk.bytes);
  }
  void on_writable() override;
  void on_closed(const wire::CloseReason& reason) override;

  bool show_output(std::span<const std::byte> frame);
  void send_files();
  void tell(Result<void> outcome);
  void leave_when_idle();
  void tell_lost(const std::string& why);

  Network& network_;
  node::Node& node_;
  relay::Relay& relay_;
  std::shared_ptr<const About> about_;
  const base::NodeId id_;
  std::unique_ptr<wire::Connector> connector_;
  std::unique_ptr<wire::Link> link_;
  std::string name_;
  std::function<void(Result<void>)> answer_;
  std::function<void(const std::string&)> lost_;
  std::function<void()> left_;
  std::shared_ptr<NetworkPeer> peer_;
  relay::PeerId peer_id_ = 0;
  wire::TimerId drain_timer_ = 0;
  // Files that the node asked for and that are being sent.
  std::vector<std::uint32_t> wanted_;
  std::size_t next_ = 0;
  std::uint64_t offset_ = 0;
  base::UniqueFd file_;
};

}  // namespace rayx::host

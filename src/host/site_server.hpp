// This node's end of the link of a job's site: takes the program, starts it, then hands frames to the relay. Loop's thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "host/daemon.hpp"
#include "host/hosted_site.hpp"
#include "host/network_peer.hpp"
#include "wire/link.hpp"

namespace rayx::host {

class SiteServer final : public HostedSite, public wire::LinkHandler, public std::enable_shared_from_this<SiteServer> {
 public:
  SiteServer(Daemon& daemon, std::unique_ptr<wire::Link> link) : HostedSite(daemon, false), link_(std::move(link)) {}
  void open() { link_->open(*this); }
  void end(const std::string& why) override;
  bool is_open() const override { return state_ == State::kOpen; }

 private:
  enum class State : std::uint8_t { kNew, kAsking, kStaging, kReceiving, kStarting, kOpen, kEnding, kEnded };

  void on_control(std::span<const std::byte> bytes) override;
  std::span<std::byte> on_payload(const wire::PayloadChunk& chunk) override;
  void on_payload_end(const wire::PayloadChunk& chunk) override;
  void on_writable() override;
  void on_closed(const wire::CloseReason& reason) override;

  void handle(const SiteMessage& message);
  void begin(OpenSite open);
  void stage();
  void start();
  bool forward_output(bool is_err);
  void read_output(bool is_err);
  void output_was_seen(std::uint64_t bytes);
  void end_job();
  void stop_reading();
  void fail(const std::string& why);

  std::unique_ptr<wire::Link> link_;
  State state_ = State::kNew;
  std::shared_ptr<NetworkPeer> peer_;
  relay::PeerId peer_id_ = 0;
  std::vector<std::byte> chunk_;
  std::optional<std::uint64_t> reading_;  // the stream of the chunk that is being read
  int chunks_on_their_way_ = 0;
  std::uint64_t bytes_to_come_ = 0;
  // What the job's processes print goes to the driver, so much at a time.
  static constexpr std::uint64_t kOutputUnseenMax = 1u << 20;
  wire::Watch out_watch_;
  wire::Watch err_watch_;
  std::uint64_t output_unseen_ = 0;
};

}  // namespace rayx::host

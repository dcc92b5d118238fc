// Channel: what stands behind a Link, from the first byte of the handshake to the last word. Link, Connector and Listener hold it;
// it lives on alone for at most kGoodbyeTimeout after they let go.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "wire/frame.hpp"
#include "wire/handshake.hpp"
#include "wire/link.hpp"
#include "wire/outbox.hpp"
#include "wire/stream.hpp"

namespace rayx::wire {

class Channel final : public std::enable_shared_from_this<Channel>, private FrameSink {
 public:
  // Of the handshake and both hellos; never called in begin, and not after abandon.
  using Settled = std::function<void(Result<void>)>;

  Channel(Loop& loop, base::UniqueFd socket, Role role, const LinkConfig& config);
  ~Channel();

  void begin(std::chrono::nanoseconds timeout, Settled settled);
  // Ends the handshake with this error, as if it had come from the peer.
  void give_up(Error error) { end_handshake(std::move(error)); }

  void open(LinkHandler& handler);
  Sent send(std::span<const std::byte> control);
  Sent send_payload(const PayloadChunk& chunk, const std::byte* data, PayloadDone done);
  std::size_t queued_bytes() const { return outbox_.control_bytes() + outbox_.chunk_bytes(); }
  void drop_chunk(std::uint64_t stream) { parser_.drop_chunk(stream); }
  void pause_reading();
  void resume_reading();
  void close(std::string reason);
  // The holder is gone: nobody is called any more.
  void abandon();

  const std::vector<std::byte>& peer_hello() const { return peer_hello_; }
  const Endpoint& peer() const { return peer_; }
  bool is_encrypted() const { return handshake_.is_encrypted(); }

 private:
  enum class Phase {
    kHandshake,  // openings and proofs
    kTls,        // its own handshake
    kHello,      // both sides' blobs
    kReady,      // the owner has not opened it yet
    kOpen,
    kLingering,  // last words are on their way
    kClosed,
  };

  // channel.cc: the stream's two directions.
  void on_readable();
  void on_writable();
  void read_frames();
  bool took(std::size_t bytes);
  void wait_for_bytes();
  void schedule_flush();
  void flush();
  bool write_some();
  void after_write();
  bool on_frame(FrameKind kind, std::span<const std::byte> bytes) override;
  std::span<std::byte> on_chunk_begin(const PayloadChunk& chunk) override;
  bool on_chunk_end(const PayloadChunk& chunk) override;
  bool is_alive() const { return phase_ != Phase::kLingering && phase_ != Phase::kClosed; }

  // channel_life.cc: how it begins and ends.
  void read_handshake();
  void drive_tls();
  void begin_hello();
  bool send_handshake_output();
  void end_handshake(Error error);
  void settle(Result<void> result);
  void lost(CloseKind kind, std::string message);
  void report_closed(CloseReason reason);
  void linger();
  void drain();
  void stay_for_last_words();
  void finish();
  void give_back_chunks();
  void beat();
  void schedule_beat();
  std::string name() const { return "the link to " + peer_.text(); }

  Loop& loop_;
  Stream stream_;
  const LinkConfig config_;
  const Role role_;
  const Endpoint peer_;
  Handshake handshake_;
  Phase phase_ = Phase::kHandshake;
  Settled settled_;
  std::chrono::nanoseconds handshake_timeout_{};
  std::array<std::byte, kOpeningBytes> incoming_{};  // of the handshake
  std::size_t incoming_bytes_ = 0;
  std::vector<std::byte> peer_hello_;

  FrameParser parser_;
  Outbox outbox_;
  LinkHandler* handler_ = nullptr;
  std::optional<CloseReason> closed_before_open_;
  std::vector<PayloadDone> finished_;
  bool flush_is_scheduled_ = false;
  bool is_blocked_ = false;  // the socket takes nothing now
  bool was_told_to_pause_ = false;
  bool reading_is_paused_ = false;

  TimerId timer_ = 0;  // of the handshake, later of the last words
  TimerId heartbeat_ = 0;
  base::TimeNs heard_ns_ = 0;
  base::TimeNs next_beat_ns_ = 0;
  bool has_said_all_ = false;
  bool pong_waits_ = false;
  bool ping_waits_ = false;
  Watch watch_;  // last: its end comes first
};

}  // namespace rayx::wire

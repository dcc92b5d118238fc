// Channel: what stands behind a Link, from the first byte of the handshake to the last word. Link, Connector and Listener hold it;
// it lives on alone for at most kGoodbyeTimeout after they let go. Of a link that may be resumed it is the part that stays: what a new
// channel has shaken hands about, it takes over.
#pragma once

#include <algorithm>
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

  // `session`: of a client. A server learns it.
  Channel(Loop& loop, base::UniqueFd socket, Role role, const LinkConfig& config, const SessionHello& session = {});
  ~Channel();

  void begin(std::chrono::nanoseconds timeout, Settled settled);
  // Ends the handshake with this error, as if it had come from the peer.
  void give_up(Error error) { end_handshake(std::move(error)); }

  void open(LinkHandler& handler);
  Sent send(std::span<const std::byte> control);
  Sent send_payload(const PayloadChunk& chunk, const std::byte* data, PayloadDone done, std::shared_ptr<void> keep);
  std::size_t queued_bytes() const { return outbox_.control_bytes() + outbox_.chunk_bytes(); }
  void drop_chunk(std::uint64_t stream) { parser_.drop_chunk(stream); }
  void set_heartbeat_timeout(std::chrono::milliseconds timeout) { config_.options.heartbeat_timeout = timeout; }
  void pause_reading();
  void resume_reading();
  void close(std::string reason);
  // The holder is gone: nobody is called any more.
  void abandon();

  // Of a client: where it has found its peer.
  void set_way_back(const Endpoint& endpoint) { way_back_ = endpoint; }
  const SessionHello& session() const { return session_; }
  bool may_be_resumed() const { return session_.id != 0 && (phase_ == Phase::kOpen || phase_ == Phase::kBroken); }
  // The same peer has come again. Not from within a call of either's.
  void take_over(Channel& other);

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
    kBroken,     // it has no connection now, and may get another one
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
  bool is_in_use() const { return phase_ == Phase::kOpen || phase_ == Phase::kBroken; }

  // channel_life.cc: how it begins and ends.
  void read_handshake();
  void drive_tls();
  void begin_hello();
  bool send_handshake_output();
  void end_handshake(Error error);
  void settle(Result<void> result);
  void lost(CloseKind kind, std::string message);
  void end_lost(CloseKind kind, const std::string& message);
  void report_closed(CloseReason reason);
  void linger();
  void drain();
  void stay_for_last_words();
  void finish();
  void give_back_chunks();
  void beat();
  void schedule_beat();
  void begin_to_read();
  // channel_resume.cc: one connection after the other.
  void broke(std::string why);
  void let_go_of_connection();
  void let_go_of_connection_for(Channel& heir);
  void come_back();
  void try_again(const std::string& why);
  void attempt_ended(Result<std::unique_ptr<Link>> result);
  bool peer_has(std::span<const std::byte> position, bool is_new);
  void confirm_received();
  std::uint64_t received() const { return received_before_ + parser_.position(); }

  std::string name() const { return "the link to " + peer_.text(); }

  Loop& loop_;
  Stream stream_;
  LinkConfig config_;
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
  base::TimeNs heard_ns_ = 0;  // the peer said something
  base::TimeNs taken_ns_ = 0;  // its kernel took something, which said that it lives
  // Where in the stream the first ping ends that was sent since then.
  static constexpr std::uint64_t kNotAsked = 0;
  static constexpr std::uint64_t kAskedBehindAll = UINT64_MAX;  // it is not in the stream yet
  std::uint64_t asked_at_ = kNotAsked;
  base::TimeNs alive_ns() const { return std::max(heard_ns_, taken_ns_); }
  base::TimeNs next_beat_ns_ = 0;
  bool has_said_all_ = false;
  bool pong_waits_ = false;
  bool ping_waits_ = false;

  SessionHello session_;  // id 0: the link ends with its connection
  Endpoint way_back_;
  std::unique_ptr<Connector> reconnector_;
  std::string broken_why_;
  base::TimeNs resume_until_ns_ = base::kNever;  // kNever: the connection stands
  std::chrono::milliseconds resume_pause_{0};
  int idle_resumes_ = 0;               // since something moved
  int breaks_in_chunk_ = 0;            // since a chunk has arrived, at either end
  std::uint64_t moved_ = 0;            // both ways, when the connection broke last
  bool waits_for_position_ = false;    // of a client: what the peer has is not known yet, and nothing is sent
  std::uint64_t received_before_ = 0;  // on earlier connections
  std::uint64_t confirmed_ = 0;        // of received(), that the peer was told
  bool has_chunk_to_confirm_ = false;
  std::vector<std::shared_ptr<void>> released_;  // by the peer's word; they go outside of calls
  Watch watch_;                                  // last: its end comes first
};

}  // namespace rayx::wire

// Link: an authenticated connection to another node's process. Whoever holds one knows that the peer has the cluster's token and
// speaks our version, and has read the peer's hello. Connector makes one from this end, Listener takes those that come.
//
// All of it belongs to the loop's thread. Calls of a handler come from the loop, never from within a call of the link. A link may
// be destroyed at any time, also inside a call of its handler: then no call follows, and a peer that reads is told goodbye.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rayx/result.hpp"
#include "wire/endpoint.hpp"
#include "wire/frame.hpp"
#include "wire/limits.hpp"
#include "wire/loop.hpp"
#include "wire/outbox.hpp"
#include "wire/token.hpp"

namespace rayx::wire {

enum class TlsPolicy : std::uint8_t {
  kOffLoopback,  // on, unless both ends of the connection are on this machine
  kOn,
  kOff,
};

struct LinkOptions {
  std::uint32_t control_bytes_max =
      kControlBytesMax;  // that the peer may send in one frame; at most kControlBytesCeiling
  std::size_t queue_low_bytes = kQueueLowBytes;
  std::size_t queue_high_bytes = kQueueHighBytes;
  std::size_t queue_hard_bytes = kQueueHardBytes;
  std::chrono::milliseconds heartbeat_interval = kHeartbeatInterval;  // 0: a silent peer is not looked for
  std::chrono::milliseconds heartbeat_timeout = kHeartbeatTimeout;
  // Of the peer's machine, which does not confirm what it was sent: it is off, or cut off. Then the link is silent, however long its
  // process might be stopped.
  std::chrono::milliseconds host_timeout = kHeartbeatTimeout;
  // Of the end that connects: so long it tries to replace a connection that broke; the owners notice nothing of one that was. 0: the end of
  // the connection is the link's.
  std::chrono::milliseconds resume_patience{0};
};

// What an end brings to a handshake.
struct LinkConfig {
  Token token;
  TlsPolicy tls = TlsPolicy::kOffLoopback;
  std::vector<std::byte> hello;  // at most kHelloBytesMax; handed to the peer's owner before the link is open
  LinkOptions options{};

  void set_hello(std::string_view text) {
    const auto bytes = std::as_bytes(std::span(text));
    hello.assign(bytes.begin(), bytes.end());
  }
};

enum class CloseKind : std::uint8_t {
  kByUs,       // close() was called
  kByPeer,     // the peer's owner closed; the message has its reason
  kLost,       // the connection broke and could not be replaced, or ended without a word, as when a process dies
  kSilent,     // nothing was heard for the heartbeat's time-out
  kBroken,     // the peer sent what no rayx sends
  kOverLimit,  // the peer does not read, and what waits for it has reached the hard limit
};
struct CloseReason {
  CloseKind kind;
  std::string message;  // what happened and what to do, complete
};

enum class Sent : std::uint8_t {
  kQueued,   // go on
  kPause,    // queued, but much waits: go on after on_writable
  kRefused,  // not queued: kQueuedChunksMax chunks wait already; try again after on_writable. Never for control frames
  kClosed,   // not queued: the link is closed, or is closed by this very call because it is over its hard limit
};

class LinkHandler {
 public:
  virtual ~LinkHandler() = default;
  // A whole control frame, 8-byte aligned; valid during the call.
  virtual void on_control(std::span<const std::byte> bytes) = 0;
  // Where this chunk's bytes go: exactly chunk.bytes, left alone until on_payload_end, on_closed, drop_chunk or the link's end.
  // Anything else, as {}, refuses the chunk: its bytes are read and forgotten. A chunk in which the connection broke is begun again.
  virtual std::span<std::byte> on_payload(const PayloadChunk& chunk) = 0;
  virtual void on_payload_end(const PayloadChunk& chunk) = 0;
  virtual void on_writable() {}
  // Once, the last call.
  virtual void on_closed(const CloseReason& reason) = 0;
};

class Channel;

class Link {
 public:
  explicit Link(std::shared_ptr<Channel> channel);  // Connector and Listener make links
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  std::span<const std::byte> peer_hello() const;
  const Endpoint& peer() const;
  bool is_encrypted() const;

  // From here the handler is called; nothing of what the peer sent meanwhile is lost. It outlives the link or on_closed.
  void open(LinkHandler& handler);

  // Copies the bytes: 20 ns for a small frame. Frames arrive in order. More than the peer allows breaks the link at the peer.
  Sent send(std::span<const std::byte> control);
  // Lends the bytes until `keep` has gone, which is when the peer has them if the link may be resumed. `done` comes once, never
  // from within this call, when they have left or the link ends. Chunks arrive in order; control frames overtake those that have not
  // begun. At most kPayloadBytesMax and not empty.
  Sent send_payload(std::uint64_t stream, std::uint64_t offset, std::span<const std::byte> bytes, PayloadDone done,
                    std::shared_ptr<void> keep = {});
  std::size_t queued_bytes() const;  // of both sorts

  // For who learns from the hello how long its peer may be silent; before open().
  void set_heartbeat_timeout(std::chrono::milliseconds timeout);

  // The span that on_payload gave for the chunk of this stream that is being read is not written any more: its memory may go.
  void drop_chunk(std::uint64_t stream);
  // The peer's frames stay in the kernel's buffers, and then at the peer. A pause hides the peer's death, too.
  void pause_reading();
  void resume_reading();

  // Control frames that wait still go out, for at most kGoodbyeTimeout, then the reason (its first kGoodbyeBytesMax bytes). Chunks are
  // given back. on_closed(kByUs) follows. A second call does nothing.
  void close(std::string reason);

 private:
  friend class Channel;
  std::shared_ptr<Channel> channel_;
};

// Connector: one attempt to reach a node. Its end cancels the attempt.
class Connector {
 public:
  // The answer comes once, never from within this call: a link whose owner then calls open, or what went wrong. Each address
  // of the name is tried until the time-out; `config` is copied.
  Connector(Loop& loop, const Endpoint& endpoint, const LinkConfig& config,
            std::function<void(Result<std::unique_ptr<Link>>)> answer,
            std::chrono::milliseconds timeout = kConnectTimeout);
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

 private:
  friend class Channel;
  struct State;
  // For the same link once more.
  Connector(Loop& loop, const Endpoint& endpoint, const LinkConfig& config, const SessionHello& session,
            std::function<void(Result<std::unique_ptr<Link>>)> answer, std::chrono::milliseconds timeout);
  bool was_refused() const;  // by each address: nobody listens there
  std::shared_ptr<State> state_;
};

}  // namespace rayx::wire

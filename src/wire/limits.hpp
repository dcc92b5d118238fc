// Every limit of the room, with its unit. What an owner may change is an option of Link or Listener and starts from these.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace rayx::wire {

inline constexpr std::uint16_t kProtocolVersion = 2;        // what this build speaks
inline constexpr std::uint16_t kOldestProtocolVersion = 2;  // and the oldest that it still understands

// Frames.
inline constexpr std::uint32_t kHelloBytesMax = 4 * 1024;                // the owner's blob that opens a link
inline constexpr std::uint32_t kControlBytesCeiling = 16 * 1024 * 1024;  // no peer may be allowed more in one frame
inline constexpr std::uint32_t kControlBytesMax = 1024 * 1024;           // by default
inline constexpr std::uint32_t kPayloadBytesMax = 1024 * 1024;           // one chunk
inline constexpr std::uint32_t kGoodbyeBytesMax = 512;                   // the reason that a peer gives when it closes
inline constexpr std::size_t kReceiveBytes = 64 * 1024;                  // the buffer of a link's reader

// What waits to be sent.
inline constexpr std::size_t kQueueLowBytes = 1024 * 1024;       // on_writable at or below this
inline constexpr std::size_t kQueueHighBytes = 4 * 1024 * 1024;  // senders are asked to pause above this
inline constexpr std::size_t kQueueHardBytes =
    64 * 1024 * 1024;                                // copies of control frames; above it the link is closed
inline constexpr std::size_t kQueuedChunksMax = 64;  // borrowed payload chunks; more are not accepted

// What the kernel holds of a link between processes of one machine. Elsewhere it finds the size by itself, by the round trip.
inline constexpr int kLoopbackSocketBytes = 256 * 1024;

// One turn of one link: what it may read and write before the other links have theirs.
inline constexpr std::size_t kTurnBytes = 1024 * 1024;

inline constexpr std::chrono::milliseconds kConnectTimeout{10'000};    // name, TCP, handshake and hello together
inline constexpr std::chrono::milliseconds kGoodbyeTimeout{1'000};     // for the last words of a link that closes
inline constexpr std::chrono::milliseconds kHeartbeatInterval{1'000};  // silence after which a link asks
inline constexpr std::chrono::milliseconds kHeartbeatTimeout{2'800};   // silence of a dead peer; noticed within 3 s

// How long the loops of nodes and programs look for the next event before they sleep. As long as executors yield before they sleep
// (shm::Backoff): what answers within this time was awake.
inline constexpr std::chrono::microseconds kLoopPatience{100};

// A link that survives its connection.
inline constexpr std::chrono::milliseconds kResumePatience{2'000};      // so long the client tries to come back
inline constexpr std::chrono::milliseconds kResumeGrace{1'000};         // and so much longer the server waits for it
inline constexpr std::chrono::milliseconds kResumePatienceMax{30'000};  // that a client may ask of a server
inline constexpr std::chrono::milliseconds kResumePauseMin{20};         // between two attempts
inline constexpr std::chrono::milliseconds kResumePauseMax{500};
// Connections one after the other that carried no whole chunk, although control frames went through: something between lets less through
// than one chunk, and for ever.
inline constexpr int kBreaksInChunkMax = 12;
inline constexpr int kIdleResumesMax = 20;  // connections one after the other on which nothing moved
inline constexpr std::size_t kConfirmBytes =
    64 * 1024;  // control frames that the peer keeps at most for want of a word
// Sent and not confirmed: above it the peer breaks the rules, and no further chunk begins.
inline constexpr std::size_t kUnconfirmedBytesMax = 256 * 1024 * 1024;

// Strangers at a listener.
inline constexpr std::size_t kHandshakesMax = 128;          // unfinished ones; the next one ends the oldest
inline constexpr std::uint32_t kHandshakesPerSecond = 200;  // above this the kernel's backlog waits
inline constexpr std::uint32_t kHandshakeBurst = 128;
inline constexpr std::chrono::milliseconds kHandshakeTimeout{5'000};
inline constexpr std::chrono::milliseconds kRefusalReportInterval{10'000};  // one report for each reason
// More than a process without special rights has descriptors: a flood of one leaves places in the queue, and who stands there is taken
// within 5 s. A connector waits 10 s.
inline constexpr int kListenBacklog = 1'024;

}  // namespace rayx::wire

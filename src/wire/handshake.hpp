// How two ends make sure of each other before anything else is parsed: a machine over bytes, without sockets. Fixed sizes only, no
// memory taken, and no cryptography before the peer has sent a whole well-formed frame. docs/design/wire.md draws the frames.
//
//   client                                              server
//   opening: magic, versions, TLS?, nonce        -->
//                                                <--    opening: magic, versions, TLS?, refusal, nonce
//   [ TLS 1.3 with a pre-shared key derived from the token ]
//   proof: HMAC(client, all of the above)        -->
//                                                <--    proof: HMAC(server, all of the above), or the refusal
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "rayx/result.hpp"
#include "wire/crypto.hpp"
#include "wire/limits.hpp"
#include "wire/token.hpp"

namespace rayx::wire {

enum class Role : std::uint8_t { kClient, kServer };

// Why a peer is not let in; the number is sent to it. Never renumbered.
enum class Refusal : std::uint8_t {
  kNone = 0,
  kVersion = 1,     // no version that both speak
  kNeedsTls = 2,    // this end takes encrypted links only
  kRefusesTls = 3,  // this end takes plain links only
  kToken = 4,       // the token differs
  kTooMany = 5,     // too many handshakes are under way
};

inline constexpr std::size_t kOpeningBytes = 48;
inline constexpr std::size_t kProofBytes = 40;

struct Opening {
  std::uint16_t version = kProtocolVersion;
  std::uint16_t oldest_version = kOldestProtocolVersion;
  bool wants_tls = false;
  Refusal refusal = Refusal::kNone;
  std::array<std::byte, 32> nonce{};
};
std::array<std::byte, kOpeningBytes> encode_opening(const Opening& opening);
// The first 16 bytes mean the same in every version to come, so that a refusal can always be read.
Result<Opening> decode_opening(std::span<const std::byte> bytes);

// What a server answers a client that it has no time for. No cryptography in it.
std::array<std::byte, kOpeningBytes> encode_refusal(Refusal refusal);
// The pre-shared key of TLS, derived from the token.
Digest tls_key(const Token& token);

class Handshake {
 public:
  enum class State {
    kReading,   // needs `wanted()` bytes of the peer
    kStartTls,  // TLS is to be done now; then tls_is_done
    kDone,
    kRefused,  // `error()` says why; the output still goes out, for the peer is told, too
  };

  // `versions` and `nonce` are given by tests only.
  Handshake(Role role, const Token& token, bool wants_tls, std::optional<Opening> mine = std::nullopt);
  ~Handshake();
  Handshake(const Handshake&) = delete;
  Handshake& operator=(const Handshake&) = delete;

  State state() const { return state_; }
  std::size_t wanted() const;
  // Exactly `wanted()` bytes.
  void take(std::span<const std::byte> bytes);
  // Of the bytes that have come so far: false if they are no beginning of what is wanted. Cheap, so a stranger goes at once.
  bool may_begin_with(std::span<const std::byte> bytes);
  // What both ends of the TLS session know and nobody else (RFC 8446, exporter): the proofs hold for this session only.
  void tls_is_done(const Digest& exported);

  // Bytes for the peer since the last call.
  std::vector<std::byte> take_output() { return std::exchange(output_, {}); }
  const Error& error() const { return error_; }
  Refusal refusal() const { return refusal_; }
  std::uint16_t version() const { return version_; }  // that both speak
  bool is_encrypted() const { return mine_.wants_tls; }

 private:
  void take_opening(std::span<const std::byte> bytes);
  void take_proof(std::span<const std::byte> bytes);
  void send_proof();
  Digest proof_of(Role role) const;
  void refuse(Refusal refusal, ErrorCode code, std::string message);
  void send(std::span<const std::byte> bytes) { output_.insert(output_.end(), bytes.begin(), bytes.end()); }

  const Role role_;
  Digest key_;
  Opening mine_;
  State state_ = State::kReading;
  bool has_opening_ = false;
  std::array<std::byte, kOpeningBytes> client_opening_{};
  std::array<std::byte, kOpeningBytes> server_opening_{};
  Digest exported_{};  // zeros without TLS
  std::vector<std::byte> output_;
  std::uint16_t version_ = 0;
  Refusal refusal_ = Refusal::kNone;
  Error error_;
};

}  // namespace rayx::wire

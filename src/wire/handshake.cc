#include "wire/handshake.hpp"

#include <algorithm>
#include <cstring>

#include "base/check.hpp"
#include "wire/words.hpp"

namespace rayx::wire {
namespace {

constexpr std::string_view kMagic = "rayxwire";

enum class ProofKind : std::uint8_t { kProof = 1, kRefused = 2 };

std::string versions_of(std::uint16_t oldest, std::uint16_t newest) {
  return oldest == newest ? "version " + std::to_string(newest)
                          : "versions " + std::to_string(oldest) + " to " + std::to_string(newest);
}

bool all_zero(std::span<const std::byte> bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [](std::byte byte) { return byte == std::byte{0}; });
}

// The first bytes of a stranger, so that its message says who it may be.
std::string describe_stranger(std::span<const std::byte> bytes) {
  if (bytes.size() >= 2 && bytes[0] == std::byte{0x16} && bytes[1] == std::byte{0x03}) {
    return "it began with TLS at once, as a web browser or a proxy does; rayx sends an opening of its own first";
  }
  std::string text;
  for (const std::byte byte : bytes.first(std::min<std::size_t>(bytes.size(), 16))) {
    const char c = static_cast<char>(byte);
    text += c >= ' ' && c <= '~' ? c : '.';
  }
  const bool is_http =
      text.starts_with("GET ") || text.starts_with("POST ") || text.starts_with("HEAD ") || text.starts_with("HTTP/");
  return "it began with \"" + text + "\"" + (is_http ? ", which is HTTP" : "");
}

constexpr char kAdviceOnTls[] =
    "Set the same policy of encryption at both ends; behind a tunnel or a port that is forwarded, where one end sees "
    "loopback and the other does not, set it to on";

}  // namespace

std::array<std::byte, kOpeningBytes> encode_opening(const Opening& opening) {
  std::array<std::byte, kOpeningBytes> out{};
  std::memcpy(out.data(), kMagic.data(), kMagic.size());
  std::memcpy(&out[8], &opening.version, 2);
  std::memcpy(&out[10], &opening.oldest_version, 2);
  out[12] = std::byte{opening.wants_tls};
  out[13] = static_cast<std::byte>(opening.refusal);
  std::memcpy(&out[16], opening.nonce.data(), opening.nonce.size());
  return out;
}

Result<Opening> decode_opening(std::span<const std::byte> bytes) {
  if (bytes.size() != kOpeningBytes || std::memcmp(bytes.data(), kMagic.data(), kMagic.size()) != 0) {
    return Error{ErrorCode::kMalformed, "the peer is no rayx: " + describe_stranger(bytes)};
  }
  Opening opening;
  opening.version = load<std::uint16_t>(&bytes[8]);
  opening.oldest_version = load<std::uint16_t>(&bytes[10]);
  opening.wants_tls = bytes[12] != std::byte{0};
  opening.refusal = static_cast<Refusal>(bytes[13]);
  std::copy_n(bytes.begin() + 16, opening.nonce.size(), opening.nonce.begin());
  if (opening.version < opening.oldest_version || bytes[12] > std::byte{1} || !all_zero(bytes.subspan(14, 2))) {
    return Error{ErrorCode::kMalformed, "the peer's opening is damaged"};
  }
  return opening;
}

std::array<std::byte, kOpeningBytes> encode_refusal(Refusal refusal) { return encode_opening({.refusal = refusal}); }

Digest tls_key(const Token& token) {
  return derive_key(token.bytes(), bytes_of("rayx wire"), bytes_of("tls 1.3 pre-shared key, 1"));
}

Handshake::Handshake(Role role, const Token& token, bool wants_tls, std::optional<Opening> mine)
    : role_(role), key_(derive_key(token.bytes(), bytes_of("rayx wire"), bytes_of("proof of the token, 1"))) {
  if (mine) {
    mine_ = *mine;
  } else {
    fill_random(mine_.nonce);
  }
  mine_.wants_tls = wants_tls;
  if (role_ == Role::kClient) send(client_opening_ = encode_opening(mine_));
}

Handshake::~Handshake() { wipe(key_); }

std::size_t Handshake::wanted() const {
  if (state_ != State::kReading) return 0;
  return has_opening_ ? kProofBytes : kOpeningBytes;
}

bool Handshake::may_begin_with(std::span<const std::byte> bytes) {
  if (state_ != State::kReading || has_opening_) return true;
  const std::size_t common = std::min(bytes.size(), kMagic.size());
  if (common == 0 || std::memcmp(bytes.data(), kMagic.data(), common) == 0) return true;
  state_ = State::kRefused;
  error_ = {ErrorCode::kMalformed, "the peer is no rayx: " + describe_stranger(bytes)};
  return false;
}

void Handshake::take(std::span<const std::byte> bytes) {
  RAYX_CHECK(bytes.size() == wanted() && !bytes.empty(), "the handshake was given what it did not want", bytes.size());
  has_opening_ ? take_proof(bytes) : take_opening(bytes);
}

void Handshake::take_opening(std::span<const std::byte> bytes) {
  Result<Opening> theirs = decode_opening(bytes);
  if (!theirs) {
    state_ = State::kRefused;
    error_ = theirs.error();
    return;
  }
  has_opening_ = true;
  std::array<std::byte, kOpeningBytes>& place = role_ == Role::kClient ? server_opening_ : client_opening_;
  std::copy(bytes.begin(), bytes.end(), place.begin());

  version_ = std::min(mine_.version, theirs->version);
  if (version_ < mine_.oldest_version || version_ < theirs->oldest_version || theirs->refusal == Refusal::kVersion) {
    return refuse(Refusal::kVersion, ErrorCode::kUnsupported,
                  "the peer speaks " + versions_of(theirs->oldest_version, theirs->version) +
                      " of rayx's protocol and this process " + versions_of(mine_.oldest_version, mine_.version) +
                      ". Install the same rayx on both ends");
  }
  if (theirs->wants_tls != mine_.wants_tls || theirs->refusal == Refusal::kNeedsTls ||
      theirs->refusal == Refusal::kRefusesTls) {
    const std::string who = role_ == Role::kClient ? "the server" : "the client";
    return refuse(mine_.wants_tls ? Refusal::kNeedsTls : Refusal::kRefusesTls, ErrorCode::kInvalidConfig,
                  (mine_.wants_tls ? who + " wants a plain link, and this end an encrypted one (TLS). "
                                   : who + " wants an encrypted link (TLS), and this end a plain one. ") +
                      kAdviceOnTls);
  }
  if (theirs->refusal == Refusal::kTooMany) {
    return refuse(Refusal::kTooMany, ErrorCode::kTimeout,
                  "the server has too many handshakes under way and refused this one. Trying again in a second makes "
                  "sense; if it stays so, somebody floods its port");
  }
  if (theirs->refusal != Refusal::kNone) {
    return refuse(theirs->refusal, ErrorCode::kUnsupported,
                  "the peer refused this process for reason " + std::to_string(static_cast<int>(theirs->refusal)) +
                      ", which this version of rayx does not know");
  }
  if (role_ == Role::kServer) send(server_opening_ = encode_opening(mine_));
  if (mine_.wants_tls) {
    state_ = State::kStartTls;
  } else if (role_ == Role::kClient) {
    send_proof();
  }
}

void Handshake::tls_is_done(const Digest& exported) {
  RAYX_CHECK(state_ == State::kStartTls, "TLS was not asked for", static_cast<int>(state_));
  exported_ = exported;
  state_ = State::kReading;
  if (role_ == Role::kClient) send_proof();
}

// The role is in it, so that a proof cannot be sent back to its maker; both openings are, so that nobody between the two has
// changed versions or taken the wish for TLS away.
Digest Handshake::proof_of(Role role) const {
  return hmac_sha256(
      key_, {bytes_of(role == Role::kClient ? "client" : "server"), client_opening_, server_opening_, exported_});
}

void Handshake::send_proof() {
  std::array<std::byte, kProofBytes> out{};
  out[0] = static_cast<std::byte>(ProofKind::kProof);
  const Digest proof = proof_of(role_);
  std::copy(proof.begin(), proof.end(), out.begin() + 8);
  send(out);
}

void Handshake::take_proof(std::span<const std::byte> bytes) {
  const auto kind = static_cast<ProofKind>(bytes[0]);
  const auto refusal = static_cast<Refusal>(bytes[1]);
  if (kind == ProofKind::kRefused && refusal == Refusal::kToken) {
    return refuse(
        Refusal::kToken, ErrorCode::kInvalidConfig,
        "the token differs: the peer does not know the one of this process. To join, " + std::string(kTokenAdvice));
  }
  if (kind != ProofKind::kProof || refusal != Refusal::kNone || !all_zero(bytes.subspan(2, 6))) {
    return refuse(Refusal::kToken, ErrorCode::kMalformed, "the peer's proof of the token is damaged");
  }
  const Role peer = role_ == Role::kClient ? Role::kServer : Role::kClient;
  if (!equal_in_constant_time(proof_of(peer), bytes.subspan(8))) {
    return refuse(Refusal::kToken, ErrorCode::kInvalidConfig,
                  "the token differs: the peer has proved another one than that of this process. To join, " +
                      std::string(kTokenAdvice));
  }
  if (role_ == Role::kServer) send_proof();
  state_ = State::kDone;
}

void Handshake::refuse(Refusal refusal, ErrorCode code, std::string message) {
  // A client only goes away. A server says why, in the frame that the client waits for.
  if (role_ == Role::kServer && all_zero(server_opening_)) {
    Opening answer = mine_;
    answer.refusal = refusal;
    answer.nonce = {};
    send(encode_opening(answer));
  } else if (role_ == Role::kServer) {
    std::array<std::byte, kProofBytes> out{};
    out[0] = static_cast<std::byte>(ProofKind::kRefused);
    out[1] = static_cast<std::byte>(refusal);
    send(out);
  }
  state_ = State::kRefused;
  refusal_ = refusal;
  error_ = {code, std::move(message)};
}

}  // namespace rayx::wire

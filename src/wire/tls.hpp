// TlsSession: TLS 1.3 with a pre-shared key and no certificates, over bytes: no sockets in here, and no OpenSSL in the header.
// The key exchange is X25519 with the pre-shared key (psk_dhe_ke): who learns the token later cannot read what was recorded.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "rayx/result.hpp"
#include "wire/crypto.hpp"
#include "wire/handshake.hpp"

namespace rayx::wire {

class TlsSession {
 public:
  enum class Step { kDone, kNeedsInput, kFailed };

  static Result<std::unique_ptr<TlsSession>> create(Role role, const Digest& key);
  ~TlsSession();
  TlsSession(const TlsSession&) = delete;
  TlsSession& operator=(const TlsSession&) = delete;

  Step shake_hands();
  Digest exported() const;  // after kDone: known to both ends of this session only

  // Decrypts into `out`: how many bytes; 0 with kNeedsInput if no whole record is there.
  Step read(std::span<std::byte> out, std::size_t& bytes);
  // Encrypts as much of `data` as there is room for: how many bytes were taken, 0 while the output is full.
  Step write(std::span<const std::byte> data, std::size_t& bytes);

  // The network's side. `input_space` is where bytes of the socket go; `output` is what waits for the socket.
  std::span<std::byte> input_space();
  void commit_input(std::size_t bytes);
  std::span<const std::byte> output() const;
  void consume_output(std::size_t bytes);

  // The peer has ended the session in an orderly way; otherwise `error` says what went wrong.
  bool has_ended() const;
  const Error& error() const;

 private:
  struct State;
  explicit TlsSession(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace rayx::wire

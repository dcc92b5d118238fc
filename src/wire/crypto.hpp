// The few functions of OpenSSL that the handshake needs. A failure of theirs is one of memory or of the installation: a check.
#pragma once

#include <array>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace rayx::wire {

using Digest = std::array<std::byte, 32>;  // SHA-256's

void fill_random(std::span<std::byte> out);            // from the kernel
void wipe(std::span<std::byte> secret);                // not left out by the optimizer
std::string to_hex(std::span<const std::byte> bytes);  // lower-case digits
bool equal_in_constant_time(std::span<const std::byte> a, std::span<const std::byte> b);
// HMAC-SHA256 (RFC 2104) over the parts one after the other.
Digest hmac_sha256(std::span<const std::byte> key, std::initializer_list<std::span<const std::byte>> parts);
// HKDF-SHA256 (RFC 5869), 32 bytes: one secret, a key of its own for each use.
Digest derive_key(std::span<const std::byte> secret, std::span<const std::byte> salt, std::span<const std::byte> info);

inline std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span(text)); }

}  // namespace rayx::wire

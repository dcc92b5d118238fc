#include "wire/crypto.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/random.h>

#include <algorithm>
#include <cerrno>
#include <vector>

#include "base/check.hpp"

namespace rayx::wire {

void fill_random(std::span<std::byte> out) {
  while (!out.empty()) {
    const ssize_t n = ::getrandom(out.data(), out.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    RAYX_CHECK(n > 0, "the kernel gives no random bytes", errno);
    out = out.subspan(static_cast<std::size_t>(n));
  }
}

void wipe(std::span<std::byte> secret) { ::OPENSSL_cleanse(secret.data(), secret.size()); }

bool equal_in_constant_time(std::span<const std::byte> a, std::span<const std::byte> b) {
  return a.size() == b.size() && ::CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

Digest hmac_sha256(std::span<const std::byte> key, std::initializer_list<std::span<const std::byte>> parts) {
  std::vector<std::byte> message;
  for (const std::span<const std::byte> part : parts) message.insert(message.end(), part.begin(), part.end());
  Digest digest;
  unsigned size = 0;
  const unsigned char* done = ::HMAC(::EVP_sha256(), key.data(), static_cast<int>(key.size()),
                                     reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                                     reinterpret_cast<unsigned char*>(digest.data()), &size);
  wipe(message);
  RAYX_CHECK(done != nullptr && size == digest.size(), "OpenSSL computes no HMAC-SHA256", size);
  return digest;
}

std::string to_hex(std::span<const std::byte> bytes) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  text.reserve(2 * bytes.size());
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<unsigned>(byte) >> 4];
    text += kDigits[std::to_integer<unsigned>(byte) & 15];
  }
  return text;
}

Digest derive_key(std::span<const std::byte> secret, std::span<const std::byte> salt, std::span<const std::byte> info) {
  Digest extracted = hmac_sha256(salt, {secret});
  constexpr std::byte kFirstBlock{1};
  const Digest key = hmac_sha256(extracted, {info, std::span(&kFirstBlock, 1)});
  wipe(extracted);
  return key;
}

}  // namespace rayx::wire

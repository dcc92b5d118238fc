// JSON Web Signatures (RFC 7515), as Spark's JWSFilter takes them: HS256 under a secret that the operator has shared.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "rayx/result.hpp"

namespace rayx::spark {

// The secret of spark.org.apache.spark.ui.JWSFilter.param.secretKey. Never printed; wiped when its holder ends.
class JwsSecret {
 public:
  static constexpr std::size_t kBytesMin = 32;  // HS256 is worth no more than its key; Spark refuses shorter ones too
  static constexpr std::size_t kBytesMax = 1024;

  // The same text that the master has in its configuration: base64url. The error never repeats it.
  static Result<JwsSecret> from_base64url(std::string_view text);
  // A file that only its owner may read.
  static Result<JwsSecret> from_file(const std::string& path);
  // RAYX_SPARK_JWS_SECRET_FILE, else RAYX_SPARK_JWS_SECRET; nothing if neither is set. Reads the environment: not beside setenv.
  static Result<std::optional<JwsSecret>> from_environment();

  JwsSecret(const JwsSecret&) = default;
  JwsSecret(JwsSecret&&) noexcept = default;
  // The old one is wiped with its new holder.
  JwsSecret& operator=(JwsSecret other) noexcept { return bytes_.swap(other.bytes_), *this; }
  ~JwsSecret();

  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  JwsSecret() = default;
  std::vector<std::byte> bytes_;
};

// Long enough for clocks that differ by a minute or two, short enough that a token that was overheard is soon worth nothing.
inline constexpr std::chrono::seconds kBearerTokenLifetime{300};

// header.payload.signature with the claims `iat` (now) and `exp` (now and kBearerTokenLifetime), in seconds since 1970.
std::string make_bearer_token(const JwsSecret& secret, std::int64_t now_unix_s);

}  // namespace rayx::spark

#include "spark/bearer_token.hpp"

#include <array>
#include <cstdlib>

#include "wire/crypto.hpp"
#include "wire/secret_file.hpp"

namespace rayx::spark {
namespace {

constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
constexpr std::string_view kHowToMake = "`openssl rand -base64 32 | tr +/ -_ | tr -d =` makes one";
constexpr std::size_t kTextBytesMax =
    JwsSecret::kBytesMax / 3 * 4 + 64;  // of a file; more than the most is read, so as to be refused

Error bad(const std::string& what) { return {ErrorCode::kInvalidConfig, what}; }

// RFC 4648, section 5, without padding: what JWS wants.
std::string to_base64url(std::span<const std::byte> bytes) {
  std::string text;
  std::uint32_t bits = 0;
  int count = 0;
  for (const std::byte byte : bytes) {
    bits = bits << 8 | std::to_integer<std::uint32_t>(byte);
    for (count += 8; count >= 6; count -= 6) text += kDigits[bits >> (count - 6) & 63];
  }
  if (count > 0) text += kDigits[bits << (6 - count) & 63];
  return text;
}

}  // namespace

JwsSecret::~JwsSecret() { wire::wipe(bytes_); }

Result<JwsSecret> JwsSecret::from_base64url(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r\n");
  text = begin == std::string_view::npos ? "" : text.substr(begin, text.find_last_not_of(" \t\r\n=") + 1 - begin);
  JwsSecret secret;
  secret.bytes_.reserve(text.size() * 3 / 4 + 1);  // so that no shorter copy is left behind unwiped
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const std::size_t value = kDigits.find(c);
    if (value == std::string_view::npos) {
      return bad(std::string("the secret of Spark's JWSFilter is base64url (letters, digits, '-' and '_')") +
                 (c == '+' || c == '/' ? ", and this one is plain base64: the master would refuse it too"
                                       : ", and this one has another character") +
                 ". " + std::string(kHowToMake));
    }
    bits = bits << 6 | static_cast<std::uint32_t>(value);
    count += 6;
    if (count >= 8) {
      count -= 8;
      secret.bytes_.push_back(static_cast<std::byte>(bits >> count & 0xff));
    }
  }
  if (secret.bytes_.size() > kBytesMax)
    return bad("the secret of Spark's JWSFilter has more than " + std::to_string(kBytesMax) +
               " bytes, the most that is taken");
  if (secret.bytes_.size() < kBytesMin || text.size() % 4 == 1) {
    return bad("the secret of Spark's JWSFilter has 32 bytes or more (43 characters of base64url); this one has " +
               std::to_string(text.size()) + " characters. " + std::string(kHowToMake));
  }
  return secret;
}

Result<JwsSecret> JwsSecret::from_file(const std::string& path) {
  const std::string what = "the file of Spark's JWS secret " + path;
  std::array<char, kTextBytesMax> text;
  const Result<std::size_t> size = wire::read_secret_file(path, what, text);
  if (!size) return size.error();
  Result<JwsSecret> secret = from_base64url({text.data(), *size});
  wire::wipe(std::as_writable_bytes(std::span(text)));
  if (!secret) return bad(what + " holds no secret: " + secret.error().message);
  return secret;
}

Result<std::optional<JwsSecret>> JwsSecret::from_environment() {
  const auto named = [](const char* name, Result<JwsSecret> secret) -> Result<std::optional<JwsSecret>> {
    if (!secret) return bad(std::string(name) + ": " + secret.error().message);
    return std::optional<JwsSecret>(std::move(*secret));
  };
  const char* const path = std::getenv("RAYX_SPARK_JWS_SECRET_FILE");
  if (path != nullptr && *path != '\0') return named("RAYX_SPARK_JWS_SECRET_FILE", from_file(path));
  const char* const text = std::getenv("RAYX_SPARK_JWS_SECRET");
  if (text != nullptr && *text != '\0') return named("RAYX_SPARK_JWS_SECRET", from_base64url(text));
  return std::optional<JwsSecret>();
}

std::string make_bearer_token(const JwsSecret& secret, std::int64_t now_unix_s) {
  const std::string claims = "{\"iat\":" + std::to_string(now_unix_s) +
                             ",\"exp\":" + std::to_string(now_unix_s + kBearerTokenLifetime.count()) + "}";
  std::string token =
      to_base64url(wire::bytes_of(R"({"alg":"HS256","typ":"JWT"})")) + '.' + to_base64url(wire::bytes_of(claims));
  const wire::Digest signature = wire::hmac_sha256(secret.bytes(), {wire::bytes_of(token)});
  token += '.' + to_base64url(signature);
  return token;
}

}  // namespace rayx::spark

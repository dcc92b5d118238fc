// What JWSFilter does with a token, written a second time from RFC 7515 with other functions of OpenSSL than the product's.
#pragma once

#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace rayx::spark::test {

inline std::string decode_base64url(std::string text) {
  std::replace(text.begin(), text.end(), '-', '+');
  std::replace(text.begin(), text.end(), '_', '/');
  const std::size_t padding = (4 - text.size() % 4) % 4;
  text.append(padding, '=');
  std::string bytes(text.size(), '\0');
  const int size =
      ::EVP_DecodeBlock(reinterpret_cast<unsigned char*>(bytes.data()),
                        reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0 || static_cast<std::size_t>(size) < padding) return {};
  bytes.resize(static_cast<std::size_t>(size) - padding);
  return bytes;
}

inline std::string hmac_sha256(std::string_view key, std::string_view message) {
  EVP_MAC* const mac = ::EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  EVP_MAC_CTX* const context = ::EVP_MAC_CTX_new(mac);
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {::OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                                   ::OSSL_PARAM_construct_end()};
  unsigned char result[64];
  std::size_t size = 0;
  const bool is_done =
      ::EVP_MAC_init(context, reinterpret_cast<const unsigned char*>(key.data()), key.size(), parameters) == 1 &&
      ::EVP_MAC_update(context, reinterpret_cast<const unsigned char*>(message.data()), message.size()) == 1 &&
      ::EVP_MAC_final(context, result, &size, sizeof(result)) == 1;
  ::EVP_MAC_CTX_free(context);
  ::EVP_MAC_free(mac);
  return is_done ? std::string(reinterpret_cast<const char*>(result), size) : std::string();
}

// The claims of a token that carries the right signature; nothing for any other text.
inline std::optional<nlohmann::json> check_jws(const std::string& token, std::string_view key) {
  const std::size_t first = token.find('.');
  const std::size_t second = token.rfind('.');
  if (first == std::string::npos || first == second) return std::nullopt;
  const nlohmann::json header = nlohmann::json::parse(decode_base64url(token.substr(0, first)), nullptr, false);
  if (!header.is_object() || header.value("alg", "") != "HS256") return std::nullopt;
  const std::string signature = decode_base64url(token.substr(second + 1));
  if (signature.empty() || signature != hmac_sha256(key, token.substr(0, second))) return std::nullopt;
  return nlohmann::json::parse(decode_base64url(token.substr(first + 1, second - first - 1)), nullptr, false);
}

}  // namespace rayx::spark::test

#include "wire/token.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>

#include "base/unique_fd.hpp"
#include "wire/crypto.hpp"
#include "wire/secret_file.hpp"

namespace rayx::wire {
namespace {

constexpr std::string_view kHowToMake = "`openssl rand -hex 32` makes one";

int digit_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kSpaces = " \t\r\n";
  const std::size_t begin = text.find_first_not_of(kSpaces);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpaces) - begin + 1);
}

Error bad(std::string message) { return {ErrorCode::kInvalidConfig, std::move(message)}; }
std::string reason() { return std::strerror(errno); }

}  // namespace

Token::~Token() { wipe(bytes_); }

Token Token::make_random() {
  Token token;
  token.size_ = kBytes;
  fill_random(std::span(token.bytes_).first(kBytes));
  return token;
}

Result<Token> Token::from_hex(std::string_view text) {
  text = trimmed(text);
  if (text.size() % 2 != 0 || text.size() < 2 * kBytesMin || text.size() > 2 * kBytesMax) {
    return bad("a token has 32 to 128 hexadecimal digits, an even number of them; this one has " +
               std::to_string(text.size()) + " characters. " + std::string(kHowToMake));
  }
  Token token;
  token.size_ = text.size() / 2;
  for (std::size_t i = 0; i < text.size(); i += 2) {
    const int high = digit_value(text[i]);
    const int low = digit_value(text[i + 1]);
    if (high < 0 || low < 0) {
      return bad("a token has hexadecimal digits only; character " + std::to_string(high < 0 ? i + 1 : i + 2) +
                 " of this one is none. " + std::string(kHowToMake));
    }
    token.bytes_[i / 2] = static_cast<std::byte>(high * 16 + low);
  }
  return token;
}

Result<Token> Token::from_file(const std::string& path) {
  const std::string file = "the token's file " + path;
  std::array<char, 2 * kBytesMax + 64> text;
  const Result<std::size_t> size = read_secret_file(path, file, text);
  if (!size) return size.error();
  Result<Token> token = from_hex({text.data(), *size});
  wipe(std::as_writable_bytes(std::span(text)));
  if (!token) return bad(file + " holds no token: " + token.error().message);
  return token;
}

Result<std::optional<Token>> Token::from_environment() {
  const char* const text = std::getenv("RAYX_TOKEN");
  if (text != nullptr && *text != '\0') {
    Result<Token> token = from_hex(text);
    if (!token) return bad("RAYX_TOKEN cannot be used: " + token.error().message);
    return std::optional<Token>(*token);
  }
  const char* const path = std::getenv("RAYX_TOKEN_FILE");
  if (path != nullptr && *path != '\0') {
    Result<Token> token = from_file(path);
    if (!token) return bad("RAYX_TOKEN_FILE: " + token.error().message);
    return std::optional<Token>(*token);
  }
  return std::optional<Token>();
}

std::string Token::hex() const { return to_hex(bytes()); }

Result<void> Token::write_file(const std::string& path) const {
  // A reader sees the old file or the whole new one, and nobody else ever a readable one.
  std::string text = hex() + '\n';
  std::string scratch = path + ".XXXXXX";
  const base::UniqueFd fd(::mkostemp(scratch.data(), O_CLOEXEC));  // mode 0600
  const auto failed = [&](const char* what) {
    Error error = bad("the token's file " + path + " cannot be " + what + ": " + reason());
    if (fd) ::unlink(scratch.c_str());
    wipe(std::as_writable_bytes(std::span(text)));
    return error;
  };
  if (!fd) return failed("created");
  if (::write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) return failed("written");
  if (::rename(scratch.c_str(), path.c_str()) != 0) return failed("put in its place");
  wipe(std::as_writable_bytes(std::span(text)));
  return {};
}

bool operator==(const Token& a, const Token& b) { return equal_in_constant_time(a.bytes(), b.bytes()); }

}  // namespace rayx::wire

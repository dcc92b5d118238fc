// Token: the cluster's secret. Who has it is a member. It is never printed; its bytes are wiped when the last copy's holder ends.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "rayx/result.hpp"

namespace rayx::wire {

// What all messages about a wrong or missing token tell the user to do.
inline constexpr std::string_view kTokenAdvice =
    "give every process the cluster's token, through RAYX_TOKEN (its text) or RAYX_TOKEN_FILE (a file of mode 0600)";

class Token {
 public:
  static constexpr std::size_t kBytes = 32;     // of a token that we make
  static constexpr std::size_t kBytesMin = 16;  // of one that a user brings
  static constexpr std::size_t kBytesMax = 64;

  static Token make_random();
  // The hex form: 32 to 128 digits, spaces around it do not count. The error never repeats the text.
  static Result<Token> from_hex(std::string_view text);
  // Refuses a file that others may read, or that belongs to somebody else than us or root.
  static Result<Token> from_file(const std::string& path);
  // RAYX_TOKEN, else the file named by RAYX_TOKEN_FILE; nothing if neither is set. Reads the environment: not beside setenv.
  static Result<std::optional<Token>> from_environment();

  Token(const Token&) = default;
  Token& operator=(const Token&) = default;
  ~Token();

  // For a file or a child's environment, never for a log. The caller's string is the caller's to guard.
  std::string hex() const;
  // Writes the hex form to a new file of mode 0600 in one step; an existing file is replaced, a symbolic link is not followed.
  Result<void> write_file(const std::string& path) const;

  std::span<const std::byte> bytes() const { return std::span(bytes_).first(size_); }
  // In a time that does not depend on where they differ.
  friend bool operator==(const Token& a, const Token& b);

 private:
  Token() = default;
  std::array<std::byte, kBytesMax> bytes_{};
  std::size_t size_ = 0;
};

}  // namespace rayx::wire

#include "wire/token.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "wire/crypto.hpp"

namespace rayx::wire {
namespace {

// A folder that goes with the test.
class Folder {
 public:
  Folder() { EXPECT_NE(::mkdtemp(path_.data()), nullptr); }
  ~Folder() { std::filesystem::remove_all(path_); }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_ = std::filesystem::temp_directory_path() / "rayx-token-XXXXXX";
};

std::string hex_of(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes) {
    char digits[3];
    std::snprintf(digits, sizeof(digits), "%02x", std::to_integer<unsigned>(byte));
    text += digits;
  }
  return text;
}
std::vector<std::byte> repeated(unsigned value, std::size_t count) {
  return std::vector<std::byte>(count, std::byte(value));
}

TEST(Crypto, HmacIsThatOfRfc4231) {
  EXPECT_EQ(hex_of(hmac_sha256(repeated(0x0b, 20), {bytes_of("Hi "), bytes_of("There")})),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
}

TEST(Crypto, DerivedKeysAreThoseOfRfc5869) {
  std::vector<std::byte> salt;
  std::vector<std::byte> info;
  for (unsigned i = 0; i <= 0x0c; ++i) salt.push_back(std::byte(i));
  for (unsigned i = 0xf0; i <= 0xf9; ++i) info.push_back(std::byte(i));
  EXPECT_EQ(hex_of(derive_key(repeated(0x0b, 22), salt, info)),  // the first 32 of its 42 bytes
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf");
}

TEST(Token, RandomOnesDifferAndComeBackFromTheirText) {
  const Token a = Token::make_random();
  const Token b = Token::make_random();
  EXPECT_FALSE(a == b);
  EXPECT_EQ(a.hex().size(), 64u);
  const Result<Token> again = Token::from_hex("  " + a.hex() + "\n");
  ASSERT_TRUE(again) << again.error().message;
  EXPECT_TRUE(*again == a);
}

TEST(Token, WrongTextsAreRefusedWithoutShowingThem) {
  for (const std::string& text : {std::string("geheim"), std::string(31, 'a'), std::string(33, 'a'),
                                  std::string(130, 'a'), std::string(31, 'a') + "g", std::string()}) {
    const Result<Token> token = Token::from_hex(text);
    ASSERT_FALSE(token) << text;
    EXPECT_EQ(token.error().code, ErrorCode::kInvalidConfig);
    EXPECT_NE(token.error().message.find("openssl rand -hex 32"), std::string::npos);
    if (!text.empty()) {
      EXPECT_EQ(token.error().message.find(text), std::string::npos);
    }
  }
}

TEST(Token, AFileIsWrittenForItsOwnerOnlyAndReadBack) {
  const Folder folder;
  const Token token = Token::make_random();
  const std::string path = folder.file("token");
  ASSERT_TRUE(token.write_file(path));
  ASSERT_TRUE(token.write_file(path));  // replaced
  struct stat about {};
  ASSERT_EQ(::stat(path.c_str(), &about), 0);
  EXPECT_EQ(about.st_mode & 07777, 0600u);
  const Result<Token> read = Token::from_file(path);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_TRUE(*read == token);
}

TEST(Token, AFileThatOthersMayReadIsRefusedWithTheCommandThatHelps) {
  const Folder folder;
  const std::string path = folder.file("token");
  ASSERT_TRUE(Token::make_random().write_file(path));
  ASSERT_EQ(::chmod(path.c_str(), 0640), 0);
  const Result<Token> token = Token::from_file(path);
  ASSERT_FALSE(token);
  EXPECT_NE(token.error().message.find("chmod 600 " + path), std::string::npos) << token.error().message;
}

TEST(Token, MissingFilesFoldersPipesAndForeignContentsAreRefused) {
  const Folder folder;
  EXPECT_FALSE(Token::from_file(folder.file("none")));
  EXPECT_FALSE(Token::from_file(folder.file("")));
  ASSERT_EQ(::mkfifo(folder.file("pipe").c_str(), 0600), 0);
  EXPECT_FALSE(Token::from_file(folder.file("pipe")));
  std::ofstream(folder.file("text")) << "this is no token, whatever it is\n";
  ::chmod(folder.file("text").c_str(), 0600);
  EXPECT_FALSE(Token::from_file(folder.file("text")));
}

TEST(Token, TheEnvironmentsTextWinsOverItsFile) {
  const Folder folder;
  ::unsetenv("RAYX_TOKEN");
  ::unsetenv("RAYX_TOKEN_FILE");
  ASSERT_TRUE(Token::from_environment());
  EXPECT_FALSE(Token::from_environment()->has_value());
  const Token in_file = Token::make_random();
  const Token in_text = Token::make_random();
  ASSERT_TRUE(in_file.write_file(folder.file("token")));
  ::setenv("RAYX_TOKEN_FILE", folder.file("token").c_str(), 1);
  EXPECT_TRUE(**Token::from_environment() == in_file);
  ::setenv("RAYX_TOKEN", in_text.hex().c_str(), 1);
  EXPECT_TRUE(**Token::from_environment() == in_text);
  ::setenv("RAYX_TOKEN", "nonsense", 1);
  const auto wrong = Token::from_environment();
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("RAYX_TOKEN"), std::string::npos);
  ::unsetenv("RAYX_TOKEN");
  ::unsetenv("RAYX_TOKEN_FILE");
}

}  // namespace
}  // namespace rayx::wire

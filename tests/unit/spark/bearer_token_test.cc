#include "spark/bearer_token.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <random>
#include <string>

#include "jws_check.hpp"
#include "kit/seed.hpp"

namespace rayx::spark {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr std::string_view kText = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";  // bytes 0 to 31

std::string bytes_of(const JwsSecret& secret) {
  return {reinterpret_cast<const char*>(secret.bytes().data()), secret.bytes().size()};
}

std::string why_not(std::string_view text) {
  const Result<JwsSecret> secret = JwsSecret::from_base64url(text);
  return secret ? "it was taken" : secret.error().message;
}

// Made by Python's hmac and base64.
TEST(BearerToken, IsTheOneThatAnotherLibraryMakes) {
  const Result<JwsSecret> secret = JwsSecret::from_base64url(kText);
  ASSERT_TRUE(secret) << secret.error().message;
  EXPECT_EQ(make_bearer_token(*secret, 1'700'000'000),
            "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJpYXQiOjE3MDAwMDAwMDAsImV4cCI6MTcwMDAwMDMwMH0."
            "aqIRwuxwopvJY9v5FW3wHk32Z84iaARz3FtobkxhREY");
}

TEST(BearerToken, CarriesClaimsUnderASignatureThatAnIndependentCheckAccepts) {
  std::mt19937_64 random(kit::seed());
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  for (int round = 0; round < 200; ++round) {
    std::string text;
    const std::size_t length = 44 + 4 * (random() % 40);
    for (std::size_t i = 0; i < length; ++i) text += kDigits[random() % kDigits.size()];
    const Result<JwsSecret> secret = JwsSecret::from_base64url(text);
    ASSERT_TRUE(secret) << secret.error().message;
    ASSERT_EQ(bytes_of(*secret), test::decode_base64url(text));
    const auto now = static_cast<std::int64_t>(random() % 4'000'000'000);
    const std::string token = make_bearer_token(*secret, now);
    const std::optional<nlohmann::json> claims = test::check_jws(token, bytes_of(*secret));
    ASSERT_TRUE(claims) << token;
    EXPECT_EQ((*claims)["iat"], now);
    EXPECT_EQ((*claims)["exp"], now + kBearerTokenLifetime.count());
    EXPECT_FALSE(test::check_jws(token, bytes_of(*secret) + "x")) << "the check itself accepts any key";
    EXPECT_THAT(token, Not(HasSubstr("=")));
  }
}

TEST(JwsSecret, IsTakenWithPaddingAndSpacesAroundIt) {
  const Result<JwsSecret> secret = JwsSecret::from_base64url(" " + std::string(kText) + "=\n");
  ASSERT_TRUE(secret) << secret.error().message;
  EXPECT_EQ(secret->bytes().size(), 32u);
}

TEST(JwsSecret, ThatTheMasterWouldNotTakeIsRefusedWithoutShowingIt) {
  EXPECT_THAT(why_not("short"),
              AllOf(HasSubstr("32 bytes or more"), HasSubstr("openssl rand"), Not(HasSubstr("short"))));
  EXPECT_THAT(why_not(std::string(kText.substr(1)) + "+"), AllOf(HasSubstr("plain base64"), Not(HasSubstr("ECAwQ"))));
  EXPECT_THAT(why_not(std::string(kText) + "!"), HasSubstr("another character"));
  EXPECT_THAT(why_not(std::string(kText) + "AA"), HasSubstr("32 bytes or more"))
      << "45 digits are no whole number of bytes";
  EXPECT_THAT(why_not(""), HasSubstr("32 bytes or more"));
  EXPECT_THAT(why_not(std::string(100'000, 'A')), HasSubstr("more than 1024 bytes"));
}

class JwsSecretPlaces : public testing::Test {
 protected:
  JwsSecretPlaces() {
    char folder[] = "/tmp/rayx-jws-XXXXXX";
    folder_ = ::mkdtemp(folder);
    path_ = folder_ + "/secret";
    ::unsetenv("RAYX_SPARK_JWS_SECRET");
    ::unsetenv("RAYX_SPARK_JWS_SECRET_FILE");
  }
  ~JwsSecretPlaces() override {
    ::unlink(path_.c_str());
    ::rmdir(folder_.c_str());
    ::unsetenv("RAYX_SPARK_JWS_SECRET");
    ::unsetenv("RAYX_SPARK_JWS_SECRET_FILE");
  }
  void write(const std::string& text, mode_t mode) {
    std::ofstream(path_) << text;
    ::chmod(path_.c_str(), mode);
  }
  std::string folder_;
  std::string path_;
};

TEST_F(JwsSecretPlaces, AFileIsReadIfItIsTheOwnersAlone) {
  write(std::string(kText) + "\n", 0600);
  const Result<JwsSecret> secret = JwsSecret::from_file(path_);
  ASSERT_TRUE(secret) << secret.error().message;
  EXPECT_EQ(secret->bytes().size(), 32u);
  ::chmod(path_.c_str(), 0644);
  EXPECT_THAT(JwsSecret::from_file(path_).error().message, HasSubstr("chmod 600 " + path_));
  EXPECT_THAT(JwsSecret::from_file(folder_ + "/none").error().message, HasSubstr("No such file"));
  write("xyz", 0600);
  EXPECT_THAT(JwsSecret::from_file(path_).error().message, AllOf(HasSubstr(path_), HasSubstr("32 bytes or more")));
}

TEST_F(JwsSecretPlaces, TheEnvironmentNamesAFileOrHasTheText) {
  EXPECT_FALSE(*JwsSecret::from_environment());
  ::setenv("RAYX_SPARK_JWS_SECRET", std::string(kText).c_str(), 1);
  ASSERT_TRUE(*JwsSecret::from_environment());
  ::setenv("RAYX_SPARK_JWS_SECRET_FILE", path_.c_str(), 1);
  EXPECT_THAT(JwsSecret::from_environment().error().message, HasSubstr("RAYX_SPARK_JWS_SECRET_FILE: "))
      << "the file comes first";
}

}  // namespace
}  // namespace rayx::spark

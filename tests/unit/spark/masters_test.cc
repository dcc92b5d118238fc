#include "spark/masters.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace rayx::spark {
namespace {

using testing::AllOf;
using testing::HasSubstr;

std::string parsed(std::string_view text) {
  const Result<std::vector<wire::Endpoint>> masters = parse_masters(text, kRestPort);
  return masters ? to_text(*masters) : masters.error().message;
}

TEST(SparkMasters, AreWrittenInEveryWayThatSparkUsersKnow) {
  EXPECT_EQ(parsed("spark://a:6066"), "a:6066");
  EXPECT_EQ(parsed("spark://a:6066,b:6067"), "a:6066, b:6067");
  EXPECT_EQ(parsed("spark://a,b"), "a:6066, b:6066");
  EXPECT_EQ(parsed("http://a:6066/"), "a:6066");
  EXPECT_EQ(parsed("http://a:1,http://b:2"), "a:1, b:2");
  EXPECT_EQ(parsed("10.0.0.7:80"), "10.0.0.7:80");
  EXPECT_EQ(parsed("localhost"), "localhost:6066");
  EXPECT_EQ(parsed("spark://[::1]:6066,[fe80::1]"), "[::1]:6066, [fe80::1]:6066");
  EXPECT_EQ(parsed("a,a:6066"), "a:6066") << "one master that is named twice would be asked twice";
}

TEST(SparkMasters, ThatCannotBeUsedAreRefusedWithTheReason) {
  for (const auto& [text, why] : {std::pair("", "a host is missing"),
                                  {"spark://a:6066,", "a host is missing"},
                                  {"https://a:6066", "plain HTTP, not TLS"},
                                  {"yarn", "only a standalone cluster's master"},
                                  {"local[4]", "only a standalone cluster's master"},
                                  {"local-cluster[1,1,1024]", "only a standalone cluster's master"},
                                  {"k8s://https://a:443", "only a standalone cluster's master"},
                                  {"http://a:6066/path", "a path behind the port"},
                                  {"a:0", "is no host:port"},
                                  {"a:66666", "is no host:port"},
                                  {"a b:6066", "is no host:port"},
                                  {"user@a:6066", "is no host:port"}}) {
    EXPECT_THAT(parsed(text), AllOf(HasSubstr(why), HasSubstr("Write spark://host:6066"))) << text;
  }
}

// The most likely mistake: each other program of Spark's is given this URL, and the master says nothing to a stranger there.
TEST(SparkMasters, AtThePortOfTheMastersOwnProtocolAreRefused) {
  EXPECT_THAT(parsed("spark://a:7077"), HasSubstr("7077 is the port of the master's own protocol"));
  EXPECT_EQ(parsed("http://a:7077"), "a:7077") << "who says http means it";
}

TEST(SparkMasters, HaveALimit) {
  std::string many = "spark://m0";
  for (std::size_t i = 1; i < kMastersMax; ++i) many += ",m" + std::to_string(i);
  EXPECT_TRUE(parse_masters(many, 1));
  EXPECT_THAT(parsed(many + ",another"), HasSubstr("more than 16 masters"));
}

}  // namespace
}  // namespace rayx::spark

#include "wire/endpoint.hpp"

#include <gtest/gtest.h>

#include <string>

namespace rayx::wire {
namespace {

TEST(Endpoint, HostsAndPortsAreTakenApartAndPutTogether) {
  EXPECT_EQ(*Endpoint::parse("node7:6380"), (Endpoint{"node7", 6380}));
  EXPECT_EQ(*Endpoint::parse("127.0.0.1:0"), (Endpoint{"127.0.0.1", 0}));
  EXPECT_EQ(*Endpoint::parse("[::1]:65535"), (Endpoint{"::1", 65535}));
  for (const char* text : {"node7:6380", "[fe80::1%eth0]:1", "a.b.c:80"})
    EXPECT_EQ(Endpoint::parse(text)->text(), text);
}

TEST(Endpoint, WrongOnesAreRefusedAndQuoted) {
  for (const char* text :
       {"", "node7", ":80", "node7:", "node7:65536", "node7:-1", "node7:80x", "::1:80", "[::1]", "[::1", "[::1]80",
        "[node7]:80", "[]:80", "no de:80", "http://node7:80", "user@node7:80", "node7: 80"}) {
    const Result<Endpoint> endpoint = Endpoint::parse(text);
    ASSERT_FALSE(endpoint) << text;
    EXPECT_NE(endpoint.error().message.find(std::string("'").append(text) + "'"), std::string::npos);
    EXPECT_NE(endpoint.error().message.find("host:port"), std::string::npos);
  }
}

TEST(Address, LoopbackIsKnownInAllItsForms) {
  for (const char* host : {"127.0.0.1", "127.8.9.10", "::1", "::ffff:127.0.0.1"}) {
    EXPECT_TRUE(Address::from_numbers(host, 1)->is_loopback()) << host;
  }
  for (const char* host : {"10.0.0.1", "0.0.0.0", "::", "::ffff:10.0.0.1", "2001:db8::1"}) {
    EXPECT_FALSE(Address::from_numbers(host, 1)->is_loopback()) << host;
  }
  EXPECT_FALSE(Address::from_numbers("localhost", 1));
  EXPECT_EQ(Address::from_numbers("::1", 80)->endpoint().text(), "[::1]:80");
}

}  // namespace
}  // namespace rayx::wire

// Links that are slow, that break at any byte, that damage what they carry.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <memory>
#include <random>
#include <string>

#include "kit/proxy.hpp"
#include "kit/seed.hpp"
#include "links.hpp"

namespace rayx::cluster_test {
namespace {

using kit::Proxy;
using std::chrono::milliseconds;
using testing::AnyOf;
using testing::HasSubstr;

TEST_F(Links, SlowAndJitteryAndInPiecesEverythingIsRight) {
  start_behind_a_proxy();
  proxy_->set(
      {.delay = milliseconds(2), .jitter = milliseconds(8), .bytes_per_s = 30'000'000, .piece_bytes_max = 5'000});
  expect_all_right(*run("RAYX_CHAOS_PROGRAM", {"1"}));
}

// A slow link is no dead one: a value takes longer than the silence after which a link is given up.
TEST_F(Links, AValueMayTakeLongerThanTheTimeoutOfSilence) {
  start_a_behind_a_proxy({});
  for (const char* bytes : {"1", "700000"}) {  // the first one brings the program there
    const auto program = run("RAYX_LINKS_PROGRAM", {"carry", bytes});
    ASSERT_TRUE(program->wait().has_value());
    EXPECT_EQ(program->out(), "looked at on a\n") << program->err();
    proxy_->set({.bytes_per_s = 120'000});
  }
}

TEST_F(Links, AnEncryptedLinkNoticesADamagedByte) {
  if (!make_hosts()) GTEST_SKIP() << why_not_;
  start_a_behind_a_proxy({.listen = hosts_->address(3), .network = hosts_->network(3)},
                         {.listen = hosts_->address(0), .network = hosts_->network(0)});
  start_on_host(1, "b");
  expect_all_right(*run("RAYX_CHAOS_PROGRAM", {"0"}));  // the nodes have the program now
  std::mt19937_64 random(kit::seed());
  for (const Proxy::Way way : {Proxy::Way::kThere, Proxy::Way::kBack}) {
    const std::uint64_t before = proxy_->forwarded(way);
    proxy_->set({.fault = Proxy::Fault{Proxy::Fault::Kind::kFlip, way, 50'000 + random() % 200'000}});
    const auto program = run("RAYX_CHAOS_PROGRAM", {"1"});
    expect_all_right(*program);
    EXPECT_GT(proxy_->forwarded(way), before + 50'000u);
    EXPECT_TRUE(nodes_[0]->is_alone());
  }
}

// Wherever the connection breaks while a program joins and works: it works with the other node, or says at init what is wrong.
TEST_F(Links, AConnectionMayBreakAtAnyByte) {
  start_behind_a_proxy();
  std::mt19937_64 random(kit::seed());
  for (int i = 0; i < 8; ++i) {
    const auto way = random() % 2 == 0 ? Proxy::Way::kThere : Proxy::Way::kBack;
    const std::uint64_t at_byte = random() % (std::uint64_t{1} << (4 + 3 * i));  // some early, some late
    proxy_->set({.fault = Proxy::Fault{Proxy::Fault::Kind::kReset, way, at_byte}});
    const auto program = run("RAYX_CHAOS_PROGRAM", {"0.2"});
    const auto ended = program->wait();
    ASSERT_TRUE(ended.has_value()) << "it hangs after a reset at byte " << at_byte;
    EXPECT_THAT(program->out(), AnyOf(HasSubstr("all right"), HasSubstr("error: rayx: init: ")))
        << "reset at byte " << at_byte << ", seed " << kit::seed();
    EXPECT_TRUE(nodes_[0]->is_alone());
  }
  proxy_->mend();
  expect_both_work();
}

// Before the proofs are exchanged nothing protects the bytes, so a wrong one must end in a refusal, not in a hang.
TEST_F(Links, ADamagedHandshakeIsRefused) {
  start_behind_a_proxy();
  std::mt19937_64 random(kit::seed());
  for (int i = 0; i < 6; ++i) {
    const auto way = i % 2 == 0 ? Proxy::Way::kThere : Proxy::Way::kBack;
    const std::uint64_t at_byte = 16 + random() % 72;  // behind what every version understands
    proxy_->set({.fault = Proxy::Fault{Proxy::Fault::Kind::kFlip, way, at_byte}});
    const auto program = run("RAYX_LINKS_PROGRAM", {"count"});
    const auto ended = program->wait();
    ASSERT_TRUE(ended.has_value()) << "it hangs after a wrong byte at " << at_byte;
    EXPECT_EQ(program->out(), "node b\n") << "wrong byte at " << at_byte << ": " << program->err();
    EXPECT_THAT(program->err(), HasSubstr("rayx: no link to " + proxy_->address()));
  }
  proxy_->mend();
  expect_both_work();
}

}  // namespace
}  // namespace rayx::cluster_test

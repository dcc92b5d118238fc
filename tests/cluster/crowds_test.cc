// Crowds at a node's port: more connections than it has places or descriptors for, and as many handshakes as a machine can make.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <vector>

#include "base/deadline.hpp"
#include "hostile.hpp"
#include "kit/eventually.hpp"
#include "kit/flood.hpp"
#include "kit/process_facts.hpp"
#include "kit/program.hpp"
#include "kit/raw_socket.hpp"
#include "kit/sanitized.hpp"
#include "wire/handshake.hpp"

namespace rayx::cluster_test {
namespace {

using kit::RawSocket;

TEST_F(Hostile, ManyThatSayNothingTakeNoPlaceOfAnybody) {
  constexpr std::size_t kMany = 400;
  start();
  const std::size_t sockets = kit::count_sockets(node().pid());
  std::vector<RawSocket> silent;
  for (std::size_t i = 0; i < kMany; ++i) silent.emplace_back(address_);
  expect_refused_with("have not finished their handshake");
  kit::Program next(variable("RAYX_LINKS_PROGRAM"), with_cluster({"count"}));
  ASSERT_TRUE(next.wait().has_value());
  EXPECT_EQ(next.out(), "node a\n") << next.err();
  EXPECT_LE(kit::count_sockets(node().pid()), sockets + wire::kHandshakesMax);
  silent.clear();
  EXPECT_TRUE(kit::eventually([&] { return kit::count_sockets(node().pid()) <= sockets; }));
  EXPECT_LE(count_refusals(), 4);
  expect_unharmed();
}

TEST_F(Hostile, ANodeWithoutDescriptorsGoesOn) {
  start({"/bin/sh", "-c", "ulimit -n 100; exec \"$@\"", "sh"});
  {
    std::vector<RawSocket> crowd;
    for (int i = 0; i < 150; ++i) crowd.emplace_back(address_);
    expect_refused_with("cannot be taken");
  }
  kit::Program next(variable("RAYX_LINKS_PROGRAM"), with_cluster({"count"}));
  ASSERT_TRUE(next.wait().has_value());
  EXPECT_EQ(next.out(), "node a\n") << next.err() << node().err();
  expect_unharmed();
}

// As many handshakes as the machine can make, for RAYX_FLOOD_SECONDS: other programs still come in, and nothing stays. The bench
// (handshake_flood) measures what it costs a program.
TEST_F(Hostile, AFloodOfHandshakesKeepsNobodyOutAndLeavesNothing) {
  const char* const given = ::getenv("RAYX_FLOOD_SECONDS");
  const int seconds = given == nullptr ? 2 : std::atoi(given);
  start();
  const std::size_t sockets = kit::count_sockets(node().pid());
  const auto forgets_all = [&] { return kit::eventually([&] { return kit::count_sockets(node().pid()) <= sockets; }); };
  const auto greeting = wire::encode_opening({});
  const std::string opening(reinterpret_cast<const char*>(greeting.data()), greeting.size());
  std::string proof(wire::kProofBytes, '\0');
  proof[0] = 1;
  // Until `is_over`; how many there were.
  const auto flood_until = [&](const std::function<bool()>& is_over) {
    const kit::Flood proving(address_, {opening, wire::kOpeningBytes, proof}, 200);
    const kit::Flood rude(address_, {"garbage!", 0, ""}, 200);
    while (!is_over()) node().read_what_is_there();
    return proving.answered() + rude.answered();
  };
  // What the node needs once for such a thing is there afterwards.
  flood_until([deadline = base::Deadline(std::chrono::milliseconds(500))] {
    ::poll(nullptr, 0, 20);
    return deadline.has_passed();
  });
  EXPECT_TRUE(forgets_all());
  const std::size_t resident = kit::resident_bytes(node().pid());

  int joined = 0;
  const std::uint64_t handshakes = flood_until([&, deadline = base::Deadline(std::chrono::seconds(seconds))] {
    kit::Program next(variable("RAYX_LINKS_PROGRAM"), with_cluster({"count"}));
    EXPECT_TRUE(next.wait().has_value());
    EXPECT_EQ(next.out(), "node a\n") << next.err();
    joined += next.out() == "node a\n";
    return deadline.has_passed() || HasFailure();
  });
  EXPECT_TRUE(forgets_all());
  if (!kit::kIsSanitized) {
    EXPECT_LE(kit::resident_bytes(node().pid()), resident + (4u << 20));
  }
  EXPECT_GT(handshakes, 100u);
  // Two kinds, each once in ten seconds, however long it took.
  EXPECT_LE(count_refusals(), 2 * (8 + seconds / 10));
  const std::string figures = expect_unharmed();
  std::printf("rayx: %llu handshakes, %d programs came in meanwhile; %s", static_cast<unsigned long long>(handshakes),
              joined, figures.c_str());
}

}  // namespace
}  // namespace rayx::cluster_test

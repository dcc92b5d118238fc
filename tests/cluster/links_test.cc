// Links that suffer: cut, silent, slow, damaged. Real nodes, on hosts of their own or behind a proxy on loopback.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kit/eventually.hpp"
#include "kit/program.hpp"
#include "kit/proxy.hpp"
#include "kit/seed.hpp"
#include "kit/test_hosts.hpp"
#include "nodes.hpp"

namespace rayx::cluster_test {
namespace {

using kit::Proxy;
using std::chrono::milliseconds;
using testing::AllOf;
using testing::AnyOf;
using testing::HasSubstr;
using testing::Not;

// Two nodes, a and b. What befalls the link to a must not be seen in any result.
class Links : public Nodes {
 protected:
  // On loopback, a behind a proxy.
  void start_behind_a_proxy() {
    proxy_ = std::make_unique<Proxy>(start_node({.name = "a"}));
    cluster_ = cluster_of({proxy_->address(), start_node({.name = "b"})});
  }
  // Each on a host, the program on a third.
  bool start_on_hosts() {
    Result<std::unique_ptr<kit::TestHosts>> made = kit::TestHosts::make(4);
    if (!made) {
      why_not_ = made.error().message;
      return false;
    }
    hosts_ = std::move(*made);
    addresses_ = {start_on_host(0, "a"), start_on_host(1, "b")};
    cluster_ = cluster_of(addresses_);
    network_ = hosts_->network(2);
    return true;
  }
  std::string start_on_host(int host, const std::string& name) {
    return start_node({.name = name, .listen = hosts_->address(host), .network = hosts_->network(host)});
  }

  std::unique_ptr<kit::Program> run(const char* program, std::vector<std::string> arguments) const {
    kit::Program::Options options = with(cluster_, std::move(arguments));
    options.network = network_;
    return std::make_unique<kit::Program>(variable(program), options);
  }
  // A program whose tasks are held on both nodes.
  std::unique_ptr<kit::Program> hold(const std::string& how) {
    auto program = run("RAYX_LINKS_PROGRAM", {how, folder_.string()});
    for (const char* node : {"began-a", "began-b"})
      EXPECT_TRUE(kit::eventually([&] { return std::filesystem::exists(folder_ / node); })) << program->err();
    return program;
  }
  void let_go(const std::string& node) { std::ofstream(folder_ / ("go-" + node)) << "go"; }

  // What was on a is done on b, which alone is let go.
  void expect_all_done_on_b(kit::Program& program) {
    let_go("b");
    const auto ended = program.wait();
    ASSERT_TRUE(ended.has_value());
    EXPECT_TRUE(ended->exited_with(0)) << program.err();
    std::string all;
    for (int i = 0; i < 8; ++i) all += "done on b\n";
    EXPECT_EQ(program.out(), "held\n" + all) << program.err();
  }
  void expect_both_work() {
    const auto program = run("RAYX_LINKS_PROGRAM", {"count"});
    ASSERT_TRUE(program->wait().has_value());
    EXPECT_EQ(program->out(), "node a\nnode b\n") << program->err();
  }
  void expect_all_right(kit::Program& program) {
    const auto ended = program.wait();
    ASSERT_TRUE(ended.has_value());
    EXPECT_TRUE(ended->exited_with(0)) << program.out() << program.err();
    EXPECT_THAT(program.out(), HasSubstr("all right"));
  }

  std::unique_ptr<kit::TestHosts> hosts_;
  std::unique_ptr<Proxy> proxy_;
  std::vector<std::string> addresses_;
  std::string cluster_;
  std::string why_not_;
  int network_ = -1;
};

TEST_F(Links, ACableThatIsPulledMovesTheTasksAndIsPluggedInAgain) {
  if (!start_on_hosts()) GTEST_SKIP() << why_not_;
  const auto program = hold("hold");
  hosts_->cut(0);
  expect_all_done_on_b(*program);
  hosts_->mend(0);
  EXPECT_TRUE(nodes_[0]->is_alone()) << "the job lives on";
  expect_both_work();
}

TEST_F(Links, SilenceIsNoticedAndSaidSo) {
  start_behind_a_proxy();
  const auto program = hold("hold-once");
  proxy_->set({.is_silent = true});
  let_go("b");
  ASSERT_TRUE(program->wait().has_value());
  EXPECT_THAT(program->out(),
              AllOf(HasSubstr(proxy_->address()), HasSubstr("nothing was heard"), HasSubstr("done on b")));
  proxy_->mend();
  EXPECT_TRUE(nodes_[0]->is_alone()) << "the job lives on";
  expect_both_work();
}

TEST_F(Links, SilenceMovesTheTasks) {
  start_behind_a_proxy();
  const auto program = hold("hold");
  proxy_->set({.is_silent = true});
  expect_all_done_on_b(*program);
}

// By its socket, not by its silence.
TEST_F(Links, ANodeThatIsKilledIsNoticedAtOnce) {
  start_behind_a_proxy();
  const auto program = hold("hold-once");
  nodes_[0]->kill(SIGKILL);
  let_go("b");
  ASSERT_TRUE(program->wait().has_value());
  EXPECT_THAT(program->out(), AllOf(Not(HasSubstr("nothing was heard")), HasSubstr("done on b")));
}

// As in a debugger, or on a machine that swaps for seconds. When it goes on it learns that it was given up.
TEST_F(Links, ANodeThatIsStoppedIsGivenUpAndEndsTheJobWhenItGoesOn) {
  start_behind_a_proxy();
  const auto program = hold("hold");
  nodes_[0]->kill(SIGSTOP);
  expect_all_done_on_b(*program);
  nodes_[0]->kill(SIGCONT);
  EXPECT_TRUE(nodes_[0]->is_alone()) << "the job lives on";
  expect_both_work();
}

TEST_F(Links, AConnectionThatIsResetEndsTheJobThereAndMovesTheTasks) {
  start_behind_a_proxy();
  const auto program = hold("hold");
  proxy_->cut();
  EXPECT_TRUE(nodes_[0]->is_alone()) << "the job lives on";
  expect_all_done_on_b(*program);
  expect_both_work();
}

TEST_F(Links, AnEndThatIsNeverToldNoticesTheSilence) {
  start_behind_a_proxy();
  const auto program = hold("hold");
  proxy_->leave_half_open(Proxy::Way::kThere);
  EXPECT_TRUE(nodes_[0]->is_alone()) << "the job lives on";
  expect_all_done_on_b(*program);
}

TEST_F(Links, SlowAndJitteryAndInPiecesEverythingIsRight) {
  start_behind_a_proxy();
  proxy_->set(
      {.delay = milliseconds(2), .jitter = milliseconds(8), .bytes_per_s = 30'000'000, .piece_bytes_max = 5'000});
  expect_all_right(*run("RAYX_CHAOS_PROGRAM", {"1"}));
}

// A slow link is no dead one: a value takes longer than the silence after which a link is given up.
TEST_F(Links, AValueMayTakeLongerThanTheTimeoutOfSilence) {
  proxy_ = std::make_unique<Proxy>(start_node({.name = "a"}));
  cluster_ = proxy_->address();
  for (const char* bytes : {"1", "700000"}) {  // the first one brings the program there
    const auto program = run("RAYX_LINKS_PROGRAM", {"carry", bytes});
    ASSERT_TRUE(program->wait().has_value());
    EXPECT_EQ(program->out(), "looked at on a\n") << program->err();
    proxy_->set({.bytes_per_s = 120'000});
  }
}

TEST_F(Links, AnEncryptedLinkNoticesADamagedByte) {
  if (!start_on_hosts()) GTEST_SKIP() << why_not_;
  expect_all_right(*run("RAYX_CHAOS_PROGRAM", {"0"}));  // the nodes have the program now
  std::mt19937_64 random(kit::seed());
  for (const Proxy::Way way : {Proxy::Way::kThere, Proxy::Way::kBack}) {
    Proxy between(addresses_[0], {.listen = hosts_->address(3), .network = hosts_->network(3)});
    between.set({.fault = Proxy::Fault{Proxy::Fault::Kind::kFlip, way, 50'000 + random() % 200'000}});
    cluster_ = cluster_of({between.address(), addresses_[1]});
    const auto program = run("RAYX_CHAOS_PROGRAM", {"1"});
    expect_all_right(*program);
    EXPECT_GT(between.forwarded(way), 50'000u);
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
    EXPECT_TRUE(ended->exited_with(4)) << "wrong byte at " << at_byte << ": " << program->out();
    EXPECT_THAT(program->out(), HasSubstr("error: rayx: init: no link to " + proxy_->address()));
  }
  proxy_->mend();
  expect_both_work();
}

}  // namespace
}  // namespace rayx::cluster_test

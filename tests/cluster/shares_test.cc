// Several programs that all want a whole node share its CPUs. Tasks are counted, so a slow machine changes nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <array>
#include <cstdio>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "kit/eventually.hpp"
#include "kit/program.hpp"
#include "nodes.hpp"
#include "shares.hpp"

namespace {

using rayx::cluster_test::map_tally;
using rayx::cluster_test::Nodes;
using rayx::cluster_test::Tally;
using rayx::cluster_test::variable;
using rayx::kit::eventually;

class SharesOfNode : public Nodes {
 protected:
  using Counts = std::array<std::uint64_t, Tally::kPrograms>;

  // Begins, and has had some tasks done.
  void start(int number) {
    programs_.push_back(std::make_unique<rayx::kit::Program>(variable("RAYX_SHARES_PROGRAM"),
                                                             with_cluster({path(), std::to_string(number)})));
    ASSERT_TRUE(eventually([&] { return done()[static_cast<std::size_t>(number)] >= 20; }))
        << programs_.back()->out() << programs_.back()->err() << what_the_node_says();
  }
  std::string what_the_node_says() {
    nodes_[0]->read_what_is_there();
    return nodes_[0]->err();
  }
  // What each has done of the next `count` tasks.
  Counts watch(std::uint64_t count) {
    const Counts before = done();
    Counts after = before;
    EXPECT_TRUE(eventually([&] {
      after = done();
      std::uint64_t sum = 0;
      for (std::size_t i = 0; i < after.size(); ++i) sum += after[i] - before[i];
      return sum >= count;
    }));
    for (std::size_t i = 0; i < after.size(); ++i) after[i] -= before[i];
    std::printf("rayx: of %llu tasks the programs did %llu, %llu and %llu\n", static_cast<unsigned long long>(count),
                static_cast<unsigned long long>(after[0]), static_cast<unsigned long long>(after[1]),
                static_cast<unsigned long long>(after[2]));
    return after;
  }
  void end_all() {
    tally().is_over = 1;
    for (const auto& program : programs_) {
      const auto ended = program->wait();
      ASSERT_TRUE(ended.has_value());
      EXPECT_TRUE(killed_.contains(program.get()) || ended->exited_with(0)) << program->out() << program->err();
    }
  }
  void kill(int which) {
    programs_[static_cast<std::size_t>(which)]->kill(SIGKILL);
    killed_.insert(programs_[static_cast<std::size_t>(which)].get());
  }
  std::string path() const { return (folder_ / "tally").string(); }
  Tally& tally() {
    if (tally_ == nullptr) tally_ = &map_tally(path());
    return *tally_;
  }
  Counts done() {
    Counts counts{};
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] = tally().programs[i].done.load();
    return counts;
  }

  std::vector<std::unique_ptr<rayx::kit::Program>> programs_;
  std::set<rayx::kit::Program*> killed_;
  Tally* tally_ = nullptr;
};

TEST_F(SharesOfNode, AreEqualForProgramsThatWantAllOfIt) {
  start_node();
  start(0);
  start(1);
  Counts part = watch(600);
  EXPECT_GE(part[0], 210u) << part[1];
  EXPECT_GE(part[1], 210u) << part[0];
  start(2);  // comes late
  part = watch(900);
  for (const std::uint64_t one : part) EXPECT_GE(one, 210u) << part[0] << ' ' << part[1] << ' ' << part[2];
  EXPECT_LE(tally().most_at_once.load(), 2) << "CPUs were used twice";
  end_all();
}

TEST_F(SharesOfNode, OfASingleCpuAreTurns) {
  start_node({.cpus = 1});
  start(0);
  start(1);
  const Counts part = watch(800);
  EXPECT_GE(part[0], 280u) << part[1];
  EXPECT_GE(part[1], 280u) << part[0];
  EXPECT_EQ(tally().most_at_once.load(), 1) << "the CPU was used twice";
  end_all();
}

TEST_F(SharesOfNode, GoToTheOthersWhenAProgramIsKilled) {
  start_node();
  start(0);
  start(1);
  kill(1);
  watch(200);  // meanwhile the node hears of it
  const std::uint64_t beside = tally().programs[0].beside.load();
  const Counts part = watch(200);
  EXPECT_EQ(part[1], 0u);
  // Two that begin together are one that began beside another.
  EXPECT_GE(tally().programs[0].beside.load() - beside, 60u) << "it has both CPUs";
  end_all();
}

}  // namespace

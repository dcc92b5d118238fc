// Results that stay where they were made: tasks that need them are given their names, and run there if they may.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <rayx/rayx.hpp>
#include <string>
#include <thread>
#include <vector>

#include "kit/eventually.hpp"
#include "kit/seed.hpp"
#include "large_values.hpp"

namespace {

using rayx::ObjectRef;
using rayx::relay::test::count_files;
using rayx::relay::test::grown;
using rayx::relay::test::kMiB;
using rayx::relay::test::make;
using rayx::relay::test::mesh_of;
using rayx::relay::test::on;
using rayx::relay::test::Sites;
using rayx::relay::test::size_of;
using rayx::relay::test::size_of_both;
using testing::HasSubstr;

std::string joined(const std::string& a, const std::string& b) { return a + b; }
int place() { return ::getppid(); }  // the fork server of the site
int place_of(const std::string& text) { return text.empty() ? 0 : ::getppid(); }
std::string sum_of(const std::string& a, const std::string& b, const std::string& c, const std::string& d) {
  std::string sum = a;
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] = static_cast<char>(a[i] + b[i] + c[i] + d[i]);
  return sum;
}
int eighth(const std::string& text) { return static_cast<unsigned char>(text[7]); }
struct Reader {
  std::size_t size_of(const std::string& text) { return text.size(); }
};

// Leaves a file for each time that it is called.
std::string make_counted(std::size_t bytes, const std::string& folder) {
  std::string file = folder + "/XXXXXX";
  ::close(::mkstemp(file.data()));
  return std::string(bytes, 'm');
}
std::string grown_counted(const std::string& text, const std::string& folder) { return text + make_counted(1, folder); }
// Ends when the file is there.
std::size_t size_after(const std::string& text, const std::string& file) {
  while (!std::filesystem::exists(file)) std::this_thread::yield();
  return text.size();
}

// Has a reference, and reads it when it is asked to.
struct Holder {
  bool hold(ObjectRef<std::string> ref) {
    held = std::move(ref);
    return true;
  }
  std::size_t size() { return rayx::get(held).size(); }
  ObjectRef<std::string> held;
};

class Folder {
 public:
  Folder() { EXPECT_NE(::mkdtemp(path_.data()), nullptr); }
  ~Folder() { std::filesystem::remove_all(path_); }
  const std::string& path() const { return path_; }

 private:
  std::string path_ = (std::filesystem::temp_directory_path() / "relay_elsewhere_XXXXXX").string();
};

// Of a size, but not before the gate is open: until then all that need it are submitted.
std::string make_behind(std::size_t bytes, char letter, const std::string& gate) {
  while (!std::filesystem::exists(gate)) std::this_thread::yield();
  return std::string(bytes, letter);
}
// Its process dies when the gate is open, the first time.
std::string make_at_second_try(std::size_t bytes, const std::string& gate) {
  while (!std::filesystem::exists(gate)) std::this_thread::yield();
  if (std::ofstream tried(gate + ".tried", std::ios::app); tried.tellp() == 0) {
    tried.put('x').flush();
    ::raise(SIGKILL);
  }
  return std::string(bytes, 'x');
}
class Gate {
 public:
  std::string path() const { return folder_.path() + "/open"; }
  void open() const { std::ofstream(path()).put('x'); }

 private:
  Folder folder_;
};

std::uint64_t sent_by_all(Sites& sites) {
  std::uint64_t all = 0;
  for (std::size_t site = 0; site < sites.size(); ++site) all += sites.sent_bytes(site);
  return all;
}
template <class Condition>
void wait_until(Condition&& condition) {
  while (!condition()) std::this_thread::yield();
}

// Failed when each result went to the driver, and from there to the next task: 480 MiB.
TEST(RelayElsewhere, AChainOfTasksMovesNothing) {
  Gate gate;
  Sites sites(mesh_of(3));
  ObjectRef<std::string> value = rayx::remote<make_behind>(8 * kMiB, 'x', gate.path());
  for (int i = 0; i < 30; ++i) value = rayx::remote<grown>(value);
  const auto size = rayx::remote<size_of>(value);
  gate.open();
  EXPECT_EQ(rayx::get(size), 8 * kMiB + 30);
  EXPECT_EQ(sent_by_all(sites), 0u);
}

// A result lies on node 1, and a task on node 2 needs it as soon as the other thing that it needs is there.
struct NeededLater {
  NeededLater() {
    made.open();
    wait_until([] { return rayx::get(rayx::remote<place>(on(1))) != 0; });  // it has come to an end there
    EXPECT_EQ(sites.sent_bytes(1), 0u);
  }
  ~NeededLater() {
    needed.open();
    EXPECT_EQ(rayx::get(sizes), 2 * kMiB + 1);
  }
  bool has_come() { return sites.sent_bytes(1) >= 2 * kMiB; }

  Gate made;
  Gate needed;
  Sites sites{mesh_of(2)};
  ObjectRef<std::string> value = rayx::remote<make_behind>(on(1), 2 * kMiB, 'x', made.path());
  ObjectRef<std::string> later = rayx::remote<make_behind>(on(2), 1, 'y', needed.path());
  ObjectRef<std::uint64_t> sizes = rayx::remote<size_of_both>(on(2), value, later);
};

// Failed when the look that found it was the last one: it stayed there until something else happened.
TEST(RelayElsewhere, WhatATaskNeedsLaterComesWhenItsNodeIsDrained) {
  NeededLater story;
  story.sites.drain(1);
  wait_until([&] { return story.has_come(); });
}

// As when a process that wants the value dies between what it says in the record and its word to the relay.
TEST(RelayElsewhere, AWantThatNobodySpokeOfIsSeenWithinASecondOrTwo) {
  NeededLater story;
  std::atomic<std::uint32_t>& state = rayx::detail::RefAccess::cell(story.value)->record.load()->state;
  wait_until([&] { return (state.load() & rayx::detail::kRecordElsewhere) != 0; });
  state.fetch_or(rayx::detail::kRecordWanted);
  // After 30 s it comes in any case.
  EXPECT_TRUE(rayx::kit::eventually([&] { return story.has_come(); }, std::chrono::seconds(15)));
}

// Failed when the task that needs the value had said so before the last retry was used up: nobody asked for it then, for 30 s, or for ever
// if there was no room.
TEST(RelayElsewhere, TheResultOfALastTryComesToWhoeverNeedsIt) {
  Gate gate;
  Sites sites(mesh_of(2));
  rayx::TaskOptions once_more = on(1);
  once_more.max_retries = 1;
  const ObjectRef<std::string> value = rayx::remote<make_at_second_try>(once_more, 2 * kMiB, gate.path());
  const auto size = rayx::remote<size_of>(on(2), value);
  gate.open();
  EXPECT_EQ(rayx::wait(std::vector{size}, {.count = 1, .timeout = std::chrono::seconds(10)}).ready.size(), 1u);
  EXPECT_EQ(rayx::get(size), 2 * kMiB);
}

TEST(RelayElsewhere, ATaskRunsWhereMostOfItsArgumentsLie) {
  Sites sites(mesh_of(3, 2));
  for (std::size_t site = 1; site <= 3; ++site) {
    Gate gate;
    const ObjectRef<std::string> value = rayx::remote<make_behind>(on(site), 2 * kMiB, 'x', gate.path());
    const auto there = rayx::remote<place_of>(value);
    gate.open();
    EXPECT_EQ(rayx::get(there), rayx::get(rayx::remote<place>(on(site)))) << site;
  }
  EXPECT_EQ(sent_by_all(sites), 0u);
  // What the driver has put: where it is used already.
  Folder signals;
  const auto object = rayx::put(std::string(2 * kMiB, 'y'));
  const auto uses = rayx::remote<size_after>(on(2), object, signals.path() + "/go");
  wait_until([&] { return sites.sent_bytes(0) != 0; });
  EXPECT_EQ(rayx::get(rayx::remote<place_of>(object)), rayx::get(rayx::remote<place>(on(2))));
  std::ofstream(signals.path() + "/go").put('x');
  EXPECT_EQ(rayx::get(uses), 2 * kMiB);
}

TEST(RelayElsewhere, WhatHasToMoveGoesStraightThere) {
  Gate gate;
  Sites sites(mesh_of(2));
  const ObjectRef<std::string> value = rayx::remote<make_behind>(on(1), 8 * kMiB, 'x', gate.path());
  const auto size = rayx::remote<size_of>(on(2), value);
  gate.open();
  EXPECT_EQ(rayx::get(size), 8 * kMiB);
  EXPECT_EQ(sites.sent_bytes(0), 0u);
  EXPECT_LT(sites.sent_bytes(1), 9 * kMiB);
}

TEST(RelayElsewhere, ValuesNeedNoRoomInTheDriversStore) {
  Gate gate;
  Sites::Options options = mesh_of(2);
  options.driver_store_bytes = 16 * kMiB;
  Sites sites(options);
  const ObjectRef<std::string> first = rayx::remote<make_behind>(on(1), 24 * kMiB, 'x', gate.path());
  const ObjectRef<std::string> second = rayx::remote<grown>(on(2), first);
  const auto size = rayx::remote<size_of>(on(1), second);
  gate.open();
  EXPECT_EQ(rayx::get(size), 24 * kMiB + 1);
  EXPECT_EQ(sites.sent_bytes(0), 0u);
}

TEST(RelayElsewhere, AValueThatStayedComesWhenItIsWanted) {
  Gate gate;
  Sites sites(mesh_of(2));
  const ObjectRef<std::string> value = rayx::remote<make_behind>(on(1), 4 * kMiB, 'x', gate.path());
  const auto its_size = rayx::remote<size_of>(value);
  gate.open();
  EXPECT_EQ(rayx::get(its_size), 4 * kMiB);
  EXPECT_EQ(sent_by_all(sites), 0u);
  EXPECT_EQ(rayx::get(value), std::string(4 * kMiB, 'x'));
  const ObjectRef<std::string> other = rayx::remote<make>(on(1), 4 * kMiB, 'y');
  const auto size = rayx::remote<size_of>(other);
  rayx::get(size);
  const auto reader = rayx::actor<Reader>();
  EXPECT_EQ(rayx::get(reader.call<&Reader::size_of>(other)), 4 * kMiB);
}

TEST(RelayElsewhere, WhatNobodyRefersToGoesWhereItLies) {
  Sites sites(mesh_of(1));
  const std::uint64_t before = sites.used_bytes(1);
  for (int i = 0; i < 20; ++i) {
    Gate gate;
    const ObjectRef<std::string> value = rayx::remote<make_behind>(8 * kMiB, 'x', gate.path());
    const auto size = rayx::remote<size_of>(value);
    gate.open();
    EXPECT_EQ(rayx::get(size), 8 * kMiB);
  }
  sites.wait_until_nothing_is_shared();
  wait_until([&] { return sites.used_bytes(1) <= before + kMiB; });
  EXPECT_EQ(sent_by_all(sites), 0u);
}

TEST(RelayElsewhere, AResultIsMadeAgainWhenItsNodeIsLost) {
  Folder runs;
  Folder signals;
  Sites sites(mesh_of(2, 2));
  // Without a label, so that it may be made again anywhere: it lies where the driver's relay has sent the first.
  const ObjectRef<std::string> value = rayx::remote<make_counted>(4 * kMiB, runs.path());
  const auto waits = rayx::remote<size_after>(value, signals.path() + "/go");
  wait_until([&] { return sites.exports(1) + sites.exports(2) != 0; });
  EXPECT_EQ(count_files(runs.path()), 1u);
  sites.cut(sites.exports(1) != 0 ? 1 : 2);
  std::ofstream(signals.path() + "/go").put('x');
  EXPECT_EQ(rayx::get(waits), 4 * kMiB);
  EXPECT_EQ(count_files(runs.path()), 2u);
  EXPECT_EQ(rayx::get(rayx::remote<size_of>(value)), 4 * kMiB);
}

// Failed when a result whose node was lost counted as unread as soon as its owner had no reference left: the others read no bytes at all.
TEST(RelayElsewhere, AResultThatOnlyOthersReferToIsMadeAgainWhenItsNodeIsLost) {
  Folder runs;
  Sites sites(mesh_of(2, 2));
  ObjectRef<std::string> value = rayx::remote<make_counted>(4 * kMiB, runs.path());
  wait_until([&] { return sites.proxies(0) != 0; });
  const std::size_t maker = sites.exports(1) != 0 ? 1 : 2;
  rayx::ActorOptions there;
  there.labels = on(3 - maker).labels;
  const auto holder = rayx::actor<Holder>(there);
  ASSERT_TRUE(rayx::get(holder.call<&Holder::hold>(value)));
  value = {};
  sites.cut(maker);
  EXPECT_EQ(rayx::get(holder.call<&Holder::size>()), 4 * kMiB);
  EXPECT_EQ(count_files(runs.path()), 2u);
}

// As when a node is lost and the driver has not heard of it.
TEST(RelayElsewhere, AnArgumentThatCannotBeReachedComesOverTheDriver) {
  Sites::Options options = mesh_of(2);
  options.are_apart = true;
  Sites sites(options);
  const ObjectRef<std::string> value = rayx::remote<make>(on(1), 4 * kMiB, 'x');
  EXPECT_EQ(rayx::get(rayx::remote<size_of>(on(2), value)), 4 * kMiB);
  EXPECT_LT(sites.sent_bytes(1), 5 * kMiB);
  EXPECT_LT(sites.sent_bytes(0), 5 * kMiB);
}

// Without a head nobody links the nodes to each other: the driver stands in.
TEST(RelayElsewhere, WithoutAHeadValuesGoOverTheDriver) {
  Sites::Options options;
  options.others = 2;
  options.cpus = 1;
  Sites sites(options);
  std::vector<ObjectRef<std::string>> halves;
  for (int i = 0; i < 4; ++i) halves.push_back(rayx::remote<make>(2 * kMiB, 'x'));
  const ObjectRef<std::string> a = rayx::remote<joined>(halves[0], halves[1]);
  const ObjectRef<std::string> b = rayx::remote<joined>(halves[2], halves[3]);
  EXPECT_EQ(rayx::get(rayx::remote<size_of>(rayx::remote<joined>(a, b))), 8 * kMiB);
}

// More than ten times what the store holds. Failed when each result kept those before it.
TEST(RelayElsewhere, AChainOfAnyLengthNeedsRoomForTwoOfItsValues) {
  Gate gate;
  Sites::Options options = mesh_of(1);
  options.store_bytes = 64 * kMiB;
  options.driver_store_bytes = 16 * kMiB;
  Sites sites(options);
  const std::uint64_t before = sites.used_bytes(1);
  ObjectRef<std::string> value = rayx::remote<make_behind>(4 * kMiB, 'x', gate.path());
  for (int i = 0; i < 200; ++i) value = rayx::remote<grown>(value);
  const auto size = rayx::remote<size_of>(value);
  gate.open();
  EXPECT_EQ(rayx::get(size), 4 * kMiB + 200);
  EXPECT_EQ(sent_by_all(sites), 0u);
  value = {};
  sites.wait_until_nothing_is_shared();
  wait_until([&] { return sites.used_bytes(1) <= before + 9 * kMiB; });  // a little is kept for the next
}

// What it was made of is gone, and is made again first.
TEST(RelayElsewhere, AChainIsMadeAgainFromItsBeginning) {
  Folder runs;
  Folder signals;
  Sites sites(mesh_of(2, 2));
  ObjectRef<std::string> value = rayx::remote<make_counted>(kMiB, runs.path());
  for (int i = 0; i < 10; ++i) value = rayx::remote<grown_counted>(value, runs.path());
  const auto waits = rayx::remote<size_after>(value, signals.path() + "/go");
  wait_until([&] { return count_files(runs.path()) == 11; });
  wait_until([&] { return sites.exports(1) + sites.exports(2) == 1; });  // the last one's
  sites.cut(sites.exports(1) != 0 ? 1 : 2);
  std::ofstream(signals.path() + "/go").put('x');
  EXPECT_EQ(rayx::get(waits), kMiB + 10);
  EXPECT_EQ(count_files(runs.path()), 22u);
  value = {};
  sites.wait_until_nothing_is_shared();
}

// Deeper than what would be made again: some values in between come to the driver.
TEST(RelayElsewhere, AVeryLongChainComesInBetween) {
  Sites sites(mesh_of(1));
  ObjectRef<std::string> value = rayx::remote<make>(kMiB / 2, 'x');
  for (int i = 0; i < 2'500; ++i) value = rayx::remote<grown>(value);
  EXPECT_EQ(rayx::get(rayx::remote<size_of>(value)), kMiB / 2 + 2'500);
  EXPECT_LT(sent_by_all(sites), 20 * kMiB);
  value = {};
  sites.wait_until_nothing_is_shared();
}

// Nobody has kept a reference: it runs once, and its result goes.
TEST(RelayElsewhere, ALargeResultThatNobodyReferredToIsNotSent) {
  Folder runs;
  Sites sites(mesh_of(1));
  for (int i = 0; i < 5; ++i) static_cast<void>(rayx::remote<make_counted>(4 * kMiB, runs.path()));
  wait_until([&] { return count_files(runs.path()) == 5; });
  EXPECT_EQ(rayx::get(rayx::remote<place>()), rayx::get(rayx::remote<place>()));
  sites.wait_until_nothing_is_shared();
  EXPECT_EQ(sent_by_all(sites), 0u);
  EXPECT_EQ(count_files(runs.path()), 5u);
}

TEST(RelayElsewhere, WhatMayNotBeMadeAgainIsAnErrorOfItsNode) {
  Sites sites(mesh_of(2));
  rayx::TaskOptions once;
  once.max_retries = 0;
  once.labels = {{"site", {"1"}}};
  const ObjectRef<std::string> value = rayx::remote<make>(once, 200 * kMiB, 'x');
  wait_until([&] { return sites.used_bytes(1) > 100 * kMiB; });
  sites.cut(1);
  try {
    rayx::get(rayx::remote<size_of>(on(2), value));
    FAIL();
  } catch (const rayx::WorkerDied& error) {
    EXPECT_THAT(error.what(), HasSubstr("site 1"));
  }
}

// More than half of the store there: what waits there goes to the driver, so that tasks find room.
TEST(RelayElsewhere, AFullStoreThereIsRelievedByTheDriver) {
  Folder signals;
  Sites::Options options = mesh_of(1, 2);
  options.store_bytes = 64 * kMiB;
  options.driver_store_bytes = 512 * kMiB;
  Sites sites(options);
  std::vector<ObjectRef<std::string>> values;
  std::vector<ObjectRef<std::size_t>> sizes;
  for (int i = 0; i < 30; ++i) values.push_back(rayx::remote<make>(6 * kMiB, 'x'));
  for (const auto& value : values) sizes.push_back(rayx::remote<size_of>(value));
  for (const auto& size : sizes) EXPECT_EQ(rayx::get(size), 6 * kMiB);
}

// Every reducer reads what every mapper has made. With one node all of it stays there; with four each node sends a value to each other one
// at most once, and the driver carries nothing.
TEST(RelayElsewhere, AShuffleGoesFromNodeToNode) {
  Gate gate;
  constexpr std::size_t kBytes = kMiB;
  Sites sites(mesh_of(4, 2));
  std::vector<ObjectRef<std::string>> maps;
  for (int i = 0; i < 16; ++i)
    maps.push_back(rayx::remote<make_behind>(on(1 + i % 4u), kBytes, static_cast<char>(1 + i), gate.path()));
  std::vector<ObjectRef<std::string>> sums;
  for (std::size_t i = 0; i < 16; ++i)
    sums.push_back(
        rayx::remote<sum_of>(on(1 + i / 4), maps[i % 4], maps[4 + i % 4], maps[8 + i % 4], maps[12 + i % 4]));
  std::vector<ObjectRef<std::string>> totals;
  for (std::size_t i = 0; i < 4; ++i)
    totals.push_back(rayx::remote<sum_of>(sums[i], sums[4 + i], sums[8 + i], sums[12 + i]));
  std::vector<ObjectRef<int>> checks;
  for (const auto& total : totals) checks.push_back(rayx::remote<eighth>(total));
  gate.open();
  int all = 0;
  for (const auto& check : checks) all += rayx::get(check);
  // Each of the 16 maps is summed 4 times over all.
  EXPECT_EQ(all, 4 * (16 * 17 / 2));
  EXPECT_EQ(sites.sent_bytes(0), 0u);
}

// Random graphs of tasks with large values, whose nodes are lost one after the other.
TEST(RelayElsewhere, RandomGraphsGiveWhatTheyMustWhateverNodesAreLost) {
  for (int round = 0; round < 6; ++round) {
    std::mt19937_64 random(rayx::kit::seed() + static_cast<std::uint64_t>(round));
    Sites::Options options = mesh_of(3, 2);
    options.delay_seed = round % 2 == 0 ? 0 : random() | 1;
    Sites sites(options);
    std::vector<ObjectRef<std::string>> refs;
    std::vector<std::size_t> expected;
    std::vector<std::pair<ObjectRef<std::size_t>, std::size_t>> asked;
    for (int step = 0; step < 60; ++step) {
      const std::size_t kind = random() % 6;
      if (refs.size() < 3 || kind == 0) {
        const std::size_t bytes = std::size_t{1000} << random() % 12;
        refs.push_back(rayx::remote<make>(bytes, 'r'));
        expected.push_back(bytes);
      } else if (kind == 1) {
        const std::size_t at = random() % refs.size();
        refs.push_back(rayx::remote<grown>(refs[at]));
        expected.push_back(expected[at] + 1);
      } else if (kind == 2) {
        const std::size_t a = random() % refs.size();
        const std::size_t b = random() % refs.size();
        if (expected[a] + expected[b] > 8 * kMiB) continue;
        refs.push_back(rayx::remote<joined>(refs[a], refs[b]));
        expected.push_back(expected[a] + expected[b]);
      } else if (kind == 3) {
        const std::size_t at = random() % refs.size();
        asked.emplace_back(rayx::remote<size_of>(refs[at]), expected[at]);
      } else if (kind == 4) {
        const std::size_t at = random() % refs.size();
        EXPECT_EQ(rayx::get(refs[at]).size(), expected[at]);
      } else {
        const std::size_t at = random() % refs.size();
        refs.erase(refs.begin() + static_cast<std::ptrdiff_t>(at));
        expected.erase(expected.begin() + static_cast<std::ptrdiff_t>(at));
      }
      if (step == 20 && round % 3 != 0) sites.cut(1 + random() % 2);
    }
    for (const auto& [size, wanted] : asked) EXPECT_EQ(rayx::get(size), wanted);
    for (std::size_t i = 0; i < refs.size(); ++i) EXPECT_EQ(rayx::get(rayx::remote<size_of>(refs[i])), expected[i]);
    refs.clear();
    asked.clear();
    sites.wait_until_nothing_is_shared();
  }
}

}  // namespace

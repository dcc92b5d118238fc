// A stranger's GoogleTest program: rayx is inside, and no test may run in a worker.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <rayx/rayx.hpp>
#include <string>

namespace {

// One line in the file of the one who counts, whatever process this is.
void count(const std::string& what) {
  const int file = ::open(std::getenv("EXECUTIONS"), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  const std::string line = what + '\n';
  if (::write(file, line.data(), line.size()) != static_cast<ssize_t>(line.size())) std::abort();
  ::close(file);
}

int square(int x) {
  count("task");
  return x * x;
}
int my_pid() { return ::getpid(); }

class Inside : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { count("suite"); }
  Inside() { count(std::string("test ") + ::testing::UnitTest::GetInstance()->current_test_info()->name()); }
  rayx::Runtime runtime_ = rayx::init({.num_cpus = 2});
};

TEST_F(Inside, Tasks) {
  for (int i = 0; i < 3; ++i) EXPECT_EQ(rayx::get(rayx::remote<square>(i)), i * i);
  EXPECT_NE(rayx::get(rayx::remote<my_pid>()), ::getpid());
}

TEST_F(Inside, AnActor) {
  struct Counter {
    int n = 0;
    int add(int k) { return n += k; }
  };
  auto counter = rayx::actor<Counter>();
  EXPECT_EQ(rayx::get(counter.call<&Counter::add>(4)), 4);
}

TEST_F(Inside, FilteredAway) { count("a test that was not asked for"); }

class Settings : public ::testing::Environment {
 public:
  void SetUp() override { count("environment"); }
};
const auto* const settings = ::testing::AddGlobalTestEnvironment(new Settings);

}  // namespace

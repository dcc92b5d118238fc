// A death is handled by every owner exactly once, whenever he looks.
#include <gtest/gtest.h>

#include <sys/mman.h>

#include <functional>
#include <string>
#include <vector>

#include "shm/control.hpp"

namespace rayx::base {
namespace {
std::function<void(const char*)> g_at_point;
void at_point(const char* name) {
  if (g_at_point) g_at_point(name);
}
}  // namespace
void (*on_kill_point)(const char*) = at_point;
}  // namespace rayx::base

namespace rayx::shm {
namespace {

class Death : public testing::Test {
 protected:
  static constexpr std::uint64_t kBytes = 8 << 20;
  Death() {
    memory_ = ::mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    control_ = Control::create(Segment(static_cast<std::byte*>(memory_), kBytes), 4, 2);
  }
  ~Death() override {
    base::g_at_point = nullptr;
    ::munmap(memory_, kBytes);
  }
  void handle(std::uint32_t owner, std::vector<std::uint32_t>& seen) {
    control_.handle_deaths(owner, [&](std::uint32_t dead) { seen.push_back(dead); });
  }

  void* memory_ = nullptr;
  Control control_;
};

// Failed when the version was raised before the death's own number was written: the owner said that he had handled it.
TEST_F(Death, IsSeenOnceByAnOwnerWhoLooksInTheMiddleOfItsAnnouncement) {
  for (const char* point : {"control.announce_death.before_life", "control.announce_death.before_version"}) {
    const std::uint32_t owner = *control_.add_process();
    const std::uint32_t dying = *control_.add_process();
    control_.begin_owning(owner);
    std::vector<std::uint32_t> seen;
    int looks = 0;
    base::g_at_point = [&](const char* name) {
      if (std::string(name) != point) return;
      ++looks;
      handle(owner, seen);
      EXPECT_TRUE(seen.empty() || control_.is_buried(dying));
    };
    control_.announce_death(dying);
    base::g_at_point = nullptr;
    EXPECT_EQ(looks, 1) << point;
    handle(owner, seen);
    handle(owner, seen);
    EXPECT_EQ(seen, std::vector<std::uint32_t>{dying}) << point;
    EXPECT_TRUE(control_.is_buried(dying));
    control_.free_process(dying);
    control_.announce_death(owner);
    control_.free_process(owner);
  }
}

}  // namespace
}  // namespace rayx::shm

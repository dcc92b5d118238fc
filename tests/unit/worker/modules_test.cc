#include "worker/modules.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace rayx::worker {
namespace {

void nothing(detail::ExecContext&) {}
std::string_view name() { return "nothing"; }
detail::FunctionInfo g_info{nothing, nullptr, name, nullptr, 0, detail::FunctionKind::kTask};
const bool g_registered = [] {
  detail::register_function(g_info);
  return true;
}();

TEST(Modules, TheExecutableComesFirstAndHasAnIdentity) {
  const std::vector<Module> modules = loaded_modules();
  ASSERT_GE(modules.size(), 2u);
  EXPECT_NE(modules[0].path.find("test"), std::string::npos) << modules[0].path;
  for (const Module& module : modules) EXPECT_FALSE(module.identity.empty()) << module.path;
  const auto address = reinterpret_cast<std::uintptr_t>(&g_info);
  EXPECT_TRUE(address >= modules[0].begin && address < modules[0].end);
}

TEST(FunctionNumbers, MeanTheSameAfterTheModulesMoved) {
  ASSERT_TRUE(g_registered);
  const FunctionNumbers driver(loaded_modules());
  const FunctionNumber number = driver.number_of(&g_info);
  ASSERT_NE(number, 0u);
  auto worker = FunctionNumbers::decode(driver.encode(), loaded_modules());
  ASSERT_TRUE(worker) << worker.error().message;
  EXPECT_EQ(worker->find_cached(number), nullptr);
  auto found = worker->find(number);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, &g_info);
  EXPECT_EQ(worker->find_cached(number), &g_info);
}

TEST(FunctionNumbers, RefuseWhatIsNoFunction) {
  FunctionNumbers numbers(loaded_modules());
  const FunctionNumber number = numbers.number_of(&g_info);
  for (const FunctionNumber wrong :
       {number + 8, number - 1, FunctionNumber{1} << 47, (std::uint64_t{1} << kModuleOffsetBits) - 1}) {
    auto found = numbers.find(wrong);
    ASSERT_FALSE(found) << wrong;
    EXPECT_EQ(found.error().code, ErrorCode::kFunctionUnknown);
    EXPECT_EQ(found.error().message.rfind("rayx: ", 0), 0u);
  }
  EXPECT_EQ(numbers.number_of(nullptr), 0u);
}

TEST(FunctionNumbers, NameTheModuleThatAWorkerLacks) {
  std::vector<Module> modules = loaded_modules();
  modules[0].identity = "00ff00ff";
  modules[0].path = "/opt/app/plugin.so";
  const FunctionNumbers driver(modules);
  auto worker = FunctionNumbers::decode(driver.encode(), loaded_modules());
  ASSERT_TRUE(worker);
  auto found = worker->find(driver.number_of(&g_info));
  ASSERT_FALSE(found);
  EXPECT_NE(found.error().message.find("/opt/app/plugin.so"), std::string::npos) << found.error().message;
}

TEST(FunctionNumbers, RefuseADamagedList) {
  const std::string good = FunctionNumbers(loaded_modules()).encode();
  for (const std::size_t cut : {good.size() - 1, good.find('\t') - 1, good.find('\t')})
    EXPECT_FALSE(FunctionNumbers::decode(good.substr(0, cut), loaded_modules())) << cut;
}

}  // namespace
}  // namespace rayx::worker

#include <algorithm>
#include <mutex>
#include <vector>

#include "rayx/detail/backend.hpp"

namespace rayx::detail {
namespace {

// Constant-initialised, so static constructors of any module may register before this library's own have run.
constinit std::atomic<FunctionInfo*> g_first{nullptr};

struct Index {
  std::mutex mutex;
  const FunctionInfo* newest = nullptr;
  std::vector<const void*> sorted;
};
Index& index() {
  static Index* const instance = new Index;  // outlives static destructors, which may still call tasks
  return *instance;
}

}  // namespace

void register_function(FunctionInfo& info) noexcept {
  FunctionInfo* first = g_first.load(std::memory_order_relaxed);
  do {
    info.next = first;
  } while (!g_first.compare_exchange_weak(first, &info, std::memory_order_release, std::memory_order_relaxed));
}

const FunctionInfo* first_function() noexcept { return g_first.load(std::memory_order_acquire); }

bool is_function(const void* candidate) {
  Index& known = index();
  const std::lock_guard lock(known.mutex);
  const FunctionInfo* const newest = first_function();
  if (newest != known.newest) {
    known.sorted.clear();
    for (const FunctionInfo* info = newest; info != nullptr; info = info->next) known.sorted.push_back(info);
    std::sort(known.sorted.begin(), known.sorted.end());
    known.newest = newest;
  }
  return std::binary_search(known.sorted.begin(), known.sorted.end(), candidate);
}

}  // namespace rayx::detail

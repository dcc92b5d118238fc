#include "heap.hpp"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "kit/sanitized.hpp"

#if RAYX_IS_SANITIZED  // they bring their own operators

namespace rayx::sim {

std::size_t heap_bytes() { return 0; }

}  // namespace rayx::sim

#else

namespace {
std::atomic<std::size_t> g_live_bytes = 0;
}  // namespace

void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  void* memory = std::malloc(size);
  if (memory != nullptr) g_live_bytes.fetch_add(::malloc_usable_size(memory), std::memory_order_relaxed);
  return memory;
}
void* operator new(std::size_t size) {
  void* memory = operator new(size, std::nothrow);
  if (memory == nullptr) throw std::bad_alloc();
  return memory;
}
void operator delete(void* memory) noexcept {
  if (memory != nullptr) g_live_bytes.fetch_sub(::malloc_usable_size(memory), std::memory_order_relaxed);
  std::free(memory);
}
void operator delete(void* memory, std::size_t) noexcept { operator delete(memory); }

namespace rayx::sim {

std::size_t heap_bytes() { return g_live_bytes; }

}  // namespace rayx::sim

#endif

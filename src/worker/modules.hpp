// Functions as numbers that mean the same in every process of a job: (module, offset in the module).
//
// A module is the executable or a shared library, named by its GNU build-id (or, where the linker was told to leave that out,
// by path, size and time of change). The driver writes the list of its modules once; each worker finds them among its own, at
// whatever addresses they lie there. The number of a function is 12 bits of module and 36 of offset.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <rayx/detail/backend.hpp>
#include <rayx/result.hpp>

namespace rayx::worker {

using FunctionNumber = std::uint64_t;  // 48 bits; 0 is never one: offset 0 is the ELF header
inline constexpr std::uint32_t kModulesMax = 1u << 12;
inline constexpr std::uint32_t kModuleOffsetBits = 36;

struct Module {
  std::string identity;  // build-id in hex, or "path:size:mtime"
  std::string path;      // as the loader knows it; the executable's is /proc/self/exe resolved
  std::uintptr_t base = 0;
  std::uintptr_t begin = 0;  // of its lowest and behind its highest loaded segment
  std::uintptr_t end = 0;
};

// The modules that are loaded in this process now, the executable first.
std::vector<Module> loaded_modules();

// Turns FunctionInfo addresses into numbers and back. Built once per process from the job's list; lookups are for one thread at
// a time, except `number_of`, which any thread may call.
class FunctionNumbers {
 public:
  // For the driver: the numbers are places in `modules`.
  explicit FunctionNumbers(std::vector<Module> modules);

  // The job's list as bytes for the workers, and a worker's view of it: same numbers, this process's addresses. A module of the
  // job that is not loaded here (main, which never runs in a worker, had it from dlopen) is loaded when a function of it is asked for.
  std::string encode() const;
  static Result<FunctionNumbers> decode(std::string_view bytes, const std::vector<Module>& loaded_here);

  // 0: the function lies in a module that was loaded after the runtime was started.
  FunctionNumber number_of(const void* info) const noexcept {
    const auto address = reinterpret_cast<std::uintptr_t>(info);
    // Nearly every program has all its functions in one module, and that one is found first.
    const std::size_t count = ranges_->count.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < count; ++i)
      if (const Range& range = ranges_->ranges[i]; address - range.begin < range.bytes)
        return std::uint64_t{range.module} << kModuleOffsetBits | (address - range.base);
    return 0;
  }

  // The function, checked to be one that exists, or kFunctionUnknown with the module's name and what to do.
  Result<const detail::FunctionInfo*> find(FunctionNumber number);
  // The same for a number that `find` has answered before; nullptr if it has been forgotten. A few ns.
  const detail::FunctionInfo* find_cached(FunctionNumber number) const noexcept {
    const CacheLine& line = cache_[cache_index(number)];
    return line.number == number ? line.info : nullptr;
  }

  std::span<const Module> modules() const noexcept { return modules_; }

 private:
  struct Range {
    std::uintptr_t begin;
    std::uintptr_t bytes;
    std::uintptr_t base;
    std::uint32_t module;
  };
  // Grows while other threads read it: room for all from the beginning.
  struct Ranges {
    explicit Ranges(std::size_t room) : ranges(room) {}
    std::vector<Range> ranges;
    std::atomic<std::size_t> count{0};
  };
  struct CacheLine {
    FunctionNumber number = 0;
    const detail::FunctionInfo* info = nullptr;
  };
  static std::size_t cache_index(FunctionNumber number) noexcept { return (number >> 4 ^ number >> 12) % kCacheLines; }
  static constexpr std::size_t kCacheLines = 256;

  void add_range(std::uint32_t module);
  std::string load(std::uint32_t module);

  std::vector<Module> modules_;  // base 0: not loaded in this process
  std::unique_ptr<Ranges> ranges_;
  std::array<CacheLine, kCacheLines> cache_{};
};

}  // namespace rayx::worker

// The limits of memory: a copy into warm shared memory and a read of private memory. The limits program prints them, and the
// cases of large objects measure them again in their own process, because a process may keep its speed from its start.
#pragma once

#include <emmintrin.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstring>
#include <vector>

#include "kit.hpp"

namespace bench {

inline constexpr std::size_t kBulkBytes = std::size_t{100} << 20;
inline constexpr double kGiB = 1024.0 * 1024.0 * 1024.0;

inline std::byte* map_memory(std::size_t bytes, int sharing) {
  void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);
  check(memory != MAP_FAILED, "mmap");
  return static_cast<std::byte*>(memory);
}

// Into shared memory whose pages exist and are mapped: what a put of a vector does at best.
inline void copy_stream(std::byte* to, const std::byte* from, std::size_t bytes) {
  for (std::size_t i = 0; i < bytes; i += 64) {
    for (std::size_t k = 0; k < 64; k += 16) {
      const __m128i lane = _mm_load_si128(reinterpret_cast<const __m128i*>(from + i + k));
      _mm_stream_si128(reinterpret_cast<__m128i*>(to + i + k), lane);
    }
  }
  _mm_sfence();
}

inline double copy_gib_s(bool non_temporal) {
  std::byte* from = map_memory(kBulkBytes, MAP_PRIVATE);
  std::byte* to = map_memory(kBulkBytes, MAP_SHARED);
  std::memset(from, 0x5a, kBulkBytes);
  std::memset(to, 0, kBulkBytes);
  const double gib_s = median_of(7, [&] {
    return kBulkBytes / kGiB / seconds_of([&] {
             if (non_temporal) {
               copy_stream(to, from, kBulkBytes);
             } else {
               std::memcpy(to, from, kBulkBytes);
             }
             keep(to);
           });
  });
  check(to[kBulkBytes - 1] == std::byte{0x5a}, "the copy is wrong");
  ::munmap(from, kBulkBytes);
  ::munmap(to, kBulkBytes);
  return gib_s;
}

inline double read_gib_s() {
  std::vector<double> values(kBulkBytes / sizeof(double), 1.0);
  double sum = 0;
  const double gib_s = median_of(7, [&] { return kBulkBytes / kGiB / seconds_of([&] { sum = sum_of(values); }); });
  check(sum == static_cast<double>(values.size()), "the sum is wrong");
  return gib_s;
}

}  // namespace bench

// Not a test: prints what the memory room costs on this machine. docs/design/store.md holds one run. All ways of one case are
// interleaved in one run, since whole runs differ by up to a factor of two.
#include <sys/mman.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "shm/arena.hpp"
#include "shm/copy.hpp"
#include "shm/slab.hpp"
#include "store/extent_map.hpp"

#include "base/clock.hpp"

namespace rayx::shm {
namespace {

constexpr std::uint64_t kMiB = 1 << 20;

double now_s() { return static_cast<double>(base::SteadyClock().now_ns()) * 1e-9; }

double median(std::vector<double> values) {
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2), values.end());
  return values[values.size() / 2];
}

std::uint64_t read_all(const std::byte* from, std::size_t bytes) {
  std::uint64_t sum = 0;
  for (std::size_t at = 0; at + 8 <= bytes; at += 64) {
    std::uint64_t word;
    std::memcpy(&word, from + at, 8);
    sum += word;
  }
  return sum;
}
volatile std::uint64_t g_sink;

// GiB/s of each way into warm shared memory. `slots`: how many destinations take turns. `reads`: the copy is read right after,
// through the read-only mapping, and the time of that is counted.
void bench_copy(const Arena& arena, const std::vector<std::byte>& source, std::size_t bytes, std::size_t slots,
                bool reads) {
  struct Way {
    const char* name;
    void (*copy)(void*, const void*, std::size_t);
    std::vector<double> seconds = {};
  } ways[] = {
      {"memcpy", [](void* to, const void* from, std::size_t n) { std::memcpy(to, from, n); }},
      {"copy_bulk", copy_bulk},
      {"past caches",
       [](void* to, const void* from, std::size_t n) {
         copy_past_caches(has_copy_way(CopyWay::kAvx2) ? CopyWay::kAvx2 : CopyWay::kSse2, to, from, n);
       }},
      {"sse2", [](void* to, const void* from, std::size_t n) { copy_past_caches(CopyWay::kSse2, to, from, n); }},
  };
  const std::size_t calls =
      std::max<std::size_t>(1, 4 * kMiB / bytes);  // in a row, so that a way meets its own cache state
  const int rounds = bytes >= 64 * kMiB ? 7 : 15;
  for (int round = 0; round < rounds; ++round) {
    for (Way& way : ways) {
      // Twice, the second is timed: each way meets the caches as it leaves them itself, not as the way before it does.
      for (int pass = 0; pass < 2; ++pass) {
        const double begin = now_s();
        for (std::size_t call = 0; call < calls; ++call) {
          const Offset to = arena.store_begin() + call % slots * bytes;
          way.copy(arena.writable(to), source.data() + 16, bytes);
          if (reads) g_sink = g_sink + read_all(arena.address(to), bytes);
        }
        if (pass == 1) way.seconds.push_back((now_s() - begin) / static_cast<double>(calls));
      }
    }
  }
  std::printf("copy %8.2f MiB, %-14s%-11s", static_cast<double>(bytes) / static_cast<double>(kMiB),
              slots == 1 ? "same place," : "taking turns,", reads ? "then read" : "copy alone");
  for (const Way& way : ways)
    std::printf("  %s %5.1f", way.name,
                static_cast<double>(bytes) / median(way.seconds) / static_cast<double>(1ull << 30));
  std::printf("  GiB/s\n");
}

void bench_faults() {
  constexpr std::uint64_t kBytes = 100 * kMiB;
  const Arena arena = Arena::create({.control_bytes = 1, .store_bytes = 2 * kBytes, .refuse_beyond = {}}).value();
  auto timed_ms = [](auto&& body) {
    const double begin = now_s();
    body();
    return (now_s() - begin) * 1e3;
  };
  const Offset begin = arena.store_begin();
  const double cold = timed_ms([&] { (void)arena.prefault(begin, kBytes); });
  const double again = timed_ms([&] { (void)arena.prefault(begin, kBytes); });
  const double touch = timed_ms([&] {
    for (std::uint64_t at = 0; at < kBytes; at += kPageBytes) *arena.writable(begin + kBytes + at) = std::byte{1};
  });
  const Arena other = Arena::attach(::dup(arena.fd())).value();
  const double read_first = timed_ms([&] { g_sink = g_sink + read_all(other.address(begin), kBytes); });
  const double read_warm = timed_ms([&] { g_sink = g_sink + read_all(other.address(begin), kBytes); });
  const Arena third = Arena::attach(::dup(arena.fd())).value();
  const double populate_read = timed_ms([&] { third.prefault_for_reading(begin, kBytes); });
  const double populate_write = timed_ms([&] { (void)third.prefault(begin, kBytes); });
  std::printf(
      "100 MiB: prefault new pages %.1f, again %.1f, touch new pages %.1f; in another process: first read %.1f, second "
      "%.1f, prefault_for_reading %.1f, prefault of warm pages %.1f ms\n",
      cold, again, touch, read_first, read_warm, populate_read, populate_write);
}

void bench_slabs(const Arena& arena) {
  constexpr int kRounds = 9;
  for (const std::uint32_t bytes : {64u, 1024u, 16384u}) {
    SlabAllocator worker(arena.segment(), 1);
    SlabAllocator owner(arena.segment(), 2);
    const std::size_t count = bytes == 64 ? 20'000 : bytes == 1024 ? 2'000 : 200;
    std::vector<Offset> blocks(count);
    std::vector<double> allocate_ns, remote_ns, local_ns, pair_ns;
    std::uint64_t leased = 0;
    auto per_block_ns = [&](double begin_s) { return (now_s() - begin_s) * 1e9 / static_cast<double>(count); };
    auto allocate_all = [&] {
      for (std::size_t i = 0; i < count; ++i) {
        while ((blocks[i] = worker.allocate(bytes, {2, static_cast<std::uint32_t>(i), 1})) == kNoOffset) {
          worker.add_slab(arena.store_begin() + leased * kSlabBytes, leased + 1);
          ++leased;
        }
      }
    };
    for (int round = 0; round < kRounds + 1; ++round) {
      double begin = now_s();
      allocate_all();
      if (round > 0) allocate_ns.push_back(per_block_ns(begin));
      begin = now_s();
      for (std::size_t i = 0; i < count; ++i) owner.free_block(blocks[i], {2, static_cast<std::uint32_t>(i), 1});
      remote_ns.push_back(per_block_ns(begin));
      worker.collect_all();
      allocate_all();
      begin = now_s();
      for (std::size_t i = 0; i < count; ++i) worker.free_block(blocks[i], {2, static_cast<std::uint32_t>(i), 1});
      local_ns.push_back(per_block_ns(begin));
      begin = now_s();
      for (std::size_t i = 0; i < count; ++i) worker.free_block(worker.allocate(bytes, {1, 0, 1}), {1, 0, 1});
      pair_ns.push_back(per_block_ns(begin));
    }
    std::printf(
        "slab %5u bytes: allocate %.1f (with collecting), remote free %.1f, local free %.1f, allocate + local free of "
        "one "
        "block %.1f ns\n",
        bytes, median(allocate_ns), median(remote_ns), median(local_ns), median(pair_ns));
  }
}

void bench_extents() {
  store::ExtentMap map(2 * kMiB, 4096 * kMiB);
  std::vector<store::LeaseAnswer> answers;
  std::vector<Offset> held;
  std::uint64_t ticket = 0;
  auto lease = [&](std::uint64_t bytes) {
    answers.clear();
    map.request({++ticket, 1, bytes, {}, false, 0}, 0, answers);
    return answers[0].lease.extent.offset;
  };
  for (std::uint64_t i = 0; i < 1000; ++i) held.push_back(lease((i % 17 + 1) * store::kGranuleBytes));
  for (std::size_t i = 0; i < held.size(); i += 2) (void)map.release(held[i], 0, answers);
  std::vector<double> ns;
  for (int round = 0; round < 9; ++round) {
    const double begin = now_s();
    for (std::uint64_t i = 0; i < 5000; ++i) (void)map.release(lease((i % 23 + 1) * store::kGranuleBytes), 0, answers);
    ns.push_back((now_s() - begin) * 1e9 / 5000);
  }
  std::printf("extents: lease + release beside 500 others %.0f ns\n", median(ns));
}

}  // namespace
}  // namespace rayx::shm

int main() {
  using namespace rayx::shm;
  {
    const Arena arena = Arena::create({.control_bytes = 1, .store_bytes = 256 * kMiB, .refuse_beyond = {}}).value();
    if (!arena.prefault(arena.store_begin(), arena.store_bytes())) return 1;
    const std::vector<std::byte> source(100 * kMiB + 64, std::byte{1});
    for (const std::size_t kib : {64ul, 1024ul, 4096ul, 8192ul, 12288ul, 16384ul, 32768ul, 102400ul}) {
      const std::size_t bytes = kib * 1024;
      bench_copy(arena, source, bytes, 1, false);
      if (bytes < 4 * kMiB) bench_copy(arena, source, bytes, 4 * kMiB / bytes, false);
      bench_copy(arena, source, bytes, 1, true);
    }
    bench_slabs(arena);
  }
  bench_faults();
  bench_extents();
  return 0;
}

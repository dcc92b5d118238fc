// One process of the slab world, and what it shares with the others.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <random>
#include <thread>

#include "shm/arena.hpp"
#include "shm/slab.hpp"
#include "slab_world.hpp"

namespace rayx::shm::test {

inline constexpr int kParticipantsMax = 4;
inline constexpr std::uint32_t kRecords = 300;  // of each participant
inline constexpr std::uint32_t kMailCells = 64;

// free -> pending -> done -> free, like the real one: the owner asks a worker for a value, the worker publishes it in a block.
enum TestRecordState : std::uint32_t { kFree, kPending, kDone };

struct TestRecord {
  std::atomic<std::uint32_t> state;
  std::atomic<std::uint32_t> generation;
  std::atomic<std::uint32_t> worker;  // who was asked
  std::atomic<std::uint64_t> offset;
  std::atomic<std::uint32_t> bytes;
};

// One slab on its way from the node to a participant or back.
struct Mail {
  std::atomic<std::uint64_t> serial;  // 0: empty
  std::atomic<std::uint64_t> offset;
};

enum Life : std::uint32_t { kRuns, kEnded, kDead };

struct Participant {
  std::atomic<std::uint32_t> life;
  std::atomic<std::uint32_t> was_killed;
  std::atomic<std::uint32_t> wants_slabs;
  std::atomic<std::uint64_t> freed;
  std::atomic<std::uint32_t> problem_count;
  char problem[200];
  Mail to_process[kMailCells];
  Mail to_node[kMailCells];
  TestRecord records[kRecords];
};

struct World {
  Participant participants[kParticipantsMax];
};

// Random work. Every block is filled with a pattern of its record and checked by its owner before it is freed, so memory that
// was handed out twice is noticed.
class Process {
 public:
  Process(const Arena& arena, World& world, int me, const SlabPlan& plan)
      : arena_(arena),
        world_(world),
        self_(world.participants[me]),
        me_(static_cast<std::uint32_t>(me)),
        plan_(plan),
        random_(plan.seed * 31 + me_),
        slabs_(arena.segment(), me_) {}

  void run() {
    for (std::uint32_t step = 0; step < plan_.steps; ++step) {
      look_after_the_dead();
      take_mail();
      const std::uint64_t kind = random_() % 100;
      if (kind < 30) {
        put();
      } else if (kind < 50) {
        ask_other();
      } else if (kind < 70) {
        work_for_others();
      } else if (kind < 98) {
        // Every so often nearly all is freed, so that slabs become empty, change their size class and go back.
        const int rounds = step % 1500 > 1400 ? 20 : 1;
        for (int i = 0; i < rounds; ++i) free_one();
      } else if (kind < 99) {
        slabs_.collect_all();
        if (const auto base = slabs_.take_empty(1)) post(self_.to_node, *base, 1);
      } else if (!slabs_.is_valid()) {
        complain("the allocator's lists do not agree with its slabs");
      }
      if (step % 64 == 0) std::this_thread::yield();
    }
    look_after_the_dead();
    for (std::uint32_t dead = 0; dead < static_cast<std::uint32_t>(plan_.participants); ++dead) {
      if ((buried_ >> dead & 1) == 0) continue;
      slabs_.free_owned_by(
          dead, [&](const BlockOwner&, Offset) { return complain("a block of a dead owner is left"), false; });
    }
  }

 private:
  std::uint32_t draw_size() { return std::uint32_t{1} << (3 + random_() % 13); }

  Offset allocate(std::uint32_t bytes, const BlockOwner& owner) {
    const Offset offset = slabs_.allocate(bytes, owner);
    if (offset != kNoOffset) return offset;
    // The node answers by a slab, or by nothing when all memory is in use. Going on without would use up the steps of a run in
    // which the node gets little CPU.
    self_.wants_slabs.store(1, std::memory_order_release);
    while (self_.wants_slabs.load(std::memory_order_acquire) != 0) std::this_thread::yield();
    return kNoOffset;
  }

  static std::uint32_t pattern(const BlockOwner& owner, std::uint32_t i) {
    return (owner.slot * 0x9e3779b9u + owner.record) * 0x85ebca6bu + owner.generation * 0xc2b2ae35u + i;
  }
  void fill(Offset offset, std::uint32_t bytes, const BlockOwner& owner) {
    if (offset % 64 != 0) complain("a block does not lie on a multiple of 64");
    auto* words = reinterpret_cast<std::uint32_t*>(arena_.writable(offset));
    for (std::uint32_t i = 0; i < bytes / 4; ++i) words[i] = pattern(owner, i);
  }

  // A value of this process's own.
  void put() {
    const auto index = static_cast<std::uint32_t>(random_() % kRecords);
    TestRecord& record = self_.records[index];
    if (record.state.load(std::memory_order_relaxed) != kFree) return;
    const BlockOwner owner{me_, index, record.generation.load(std::memory_order_relaxed)};
    const auto bytes = std::min(draw_size() + static_cast<std::uint32_t>(random_() % 16) * 4, kSlabPayloadMax_bytes);
    // Now and then its record is not known when the block is taken.
    const bool is_renamed = random_() % 4 == 0;
    const Offset offset = allocate(bytes, is_renamed ? BlockOwner{me_, 0, 0} : owner);
    if (offset == kNoOffset) return;
    if (is_renamed) slabs_.rename(offset, owner);
    fill(offset, bytes, owner);
    if (random_() % 8 == 0) return slabs_.free_block(offset, owner);  // thinks better of it
    record.offset.store(offset, std::memory_order_relaxed);
    record.bytes.store(bytes, std::memory_order_relaxed);
    record.state.store(kDone, std::memory_order_release);
  }

  // Asks another process for a value.
  void ask_other() {
    const auto index = static_cast<std::uint32_t>(random_() % kRecords);
    TestRecord& record = self_.records[index];
    if (record.state.load(std::memory_order_relaxed) != kFree) return;
    const auto worker = static_cast<std::uint32_t>(random_() % static_cast<std::uint64_t>(plan_.participants));
    if (worker == me_ || world_.participants[worker].life.load(std::memory_order_acquire) != kRuns) return;
    record.worker.store(worker, std::memory_order_relaxed);
    record.state.store(kPending, std::memory_order_release);
  }

  void work_for_others() {
    const auto owner_slot = static_cast<std::uint32_t>(random_() % static_cast<std::uint64_t>(plan_.participants));
    if (owner_slot == me_) return;
    Participant& other = world_.participants[owner_slot];
    const std::uint64_t start = random_() % kRecords;
    for (std::uint32_t i = 0; i < kRecords; ++i) {
      const auto index = static_cast<std::uint32_t>((start + i) % kRecords);
      TestRecord& record = other.records[index];
      if (record.state.load(std::memory_order_acquire) != kPending) continue;
      if (record.worker.load(std::memory_order_relaxed) != me_) continue;
      const BlockOwner owner{owner_slot, index, record.generation.load(std::memory_order_relaxed)};
      const std::uint32_t bytes = draw_size();
      const Offset offset = allocate(bytes, owner);
      if (offset == kNoOffset) return;
      fill(offset, bytes, owner);
      if (other.life.load(std::memory_order_acquire) == kDead) return slabs_.free_block(offset, owner);
      slabs_.give(offset);
      record.offset.store(offset, std::memory_order_relaxed);
      record.bytes.store(bytes, std::memory_order_relaxed);
      RAYX_KILL_POINT("test.before_publish");
      record.state.store(kDone, std::memory_order_release);
      RAYX_KILL_POINT("test.after_publish");
      return;
    }
  }

  void free_one() {
    const std::uint64_t start = random_() % kRecords;
    for (std::uint32_t i = 0; i < kRecords; ++i) {
      const auto index = static_cast<std::uint32_t>((start + i) % kRecords);
      if (self_.records[index].state.load(std::memory_order_acquire) == kDone) return free_record(index);
    }
  }
  void free_record(std::uint32_t index) {
    TestRecord& record = self_.records[index];
    const BlockOwner owner{me_, index, record.generation.load(std::memory_order_relaxed)};
    const Offset offset = record.offset.load(std::memory_order_relaxed);
    const auto* words = reinterpret_cast<const std::uint32_t*>(arena_.address(offset));
    for (std::uint32_t i = 0; i < record.bytes.load(std::memory_order_relaxed) / 4; ++i) {
      if (words[i] == pattern(owner, i)) continue;
      complain("a block was written to by somebody else while a live record named it");
      break;
    }
    slabs_.free_block(offset, owner);
    RAYX_KILL_POINT("test.before_record_is_free");
    record.generation.fetch_add(1, std::memory_order_relaxed);
    record.state.store(kFree, std::memory_order_release);
    self_.freed.fetch_add(1, std::memory_order_relaxed);
  }

  void look_after_the_dead() {
    for (std::uint32_t dead = 0; dead < static_cast<std::uint32_t>(plan_.participants); ++dead) {
      if (dead == me_ || (buried_ >> dead & 1) != 0) continue;
      if (world_.participants[dead].life.load(std::memory_order_acquire) != kDead) continue;
      buried_ |= 1u << dead;
      slabs_.free_owned_by(dead, [](const BlockOwner&, Offset) { return true; });
      for (TestRecord& record : self_.records) {
        if (record.state.load(std::memory_order_acquire) != kPending) continue;
        if (record.worker.load(std::memory_order_relaxed) != dead) continue;
        record.generation.fetch_add(1, std::memory_order_relaxed);
        record.state.store(kFree, std::memory_order_release);
      }
    }
  }

  void take_mail() {
    for (Mail& mail : self_.to_process) {
      const std::uint64_t serial = mail.serial.load(std::memory_order_acquire);
      if (serial == 0) continue;
      const Offset base = mail.offset.load(std::memory_order_relaxed);
      RAYX_KILL_POINT("test.before_mail_is_taken");
      mail.serial.store(0, std::memory_order_release);
      slabs_.add_slab(base, serial);
    }
  }
  static void post(Mail (&cells)[kMailCells], Offset base, std::uint64_t serial) {
    for (Mail& mail : cells) {
      if (mail.serial.load(std::memory_order_acquire) != 0) continue;
      mail.offset.store(base, std::memory_order_relaxed);
      mail.serial.store(serial, std::memory_order_release);
      return;
    }
    // No cell is free: the slab stays leased, without a format, and is found when this process ends.
  }

  void complain(const char* text) {
    if (self_.problem_count.fetch_add(1, std::memory_order_relaxed) == 0)
      std::snprintf(self_.problem, sizeof(self_.problem), "process %u: %s", me_, text);
  }

  const Arena& arena_;
  World& world_;
  Participant& self_;
  std::uint32_t me_;
  const SlabPlan& plan_;
  std::mt19937_64 random_;
  SlabAllocator slabs_;
  std::uint32_t buried_ = 0;
};

}  // namespace rayx::shm::test

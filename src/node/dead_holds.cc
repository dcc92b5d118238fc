#include "node/dead_holds.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <optional>
#include <span>
#include <unordered_set>
#include <vector>

#include <rayx/detail/ref_positions.hpp>

namespace rayx::node {

using shm::ObjectKey;
using shm::ProcessLife;

namespace {

// The bytes of an object of a dead owner, if they name others.
std::span<const std::byte> value_with_names(const shm::Control& control, ObjectKey key) {
  const std::uint32_t slab = key.record() / shm::kRecordsPerSlab;
  if (control.slot(key.owner()).record_slabs[slab].load(std::memory_order_acquire) == shm::kNoOffset) return {};
  const shm::Record& record = control.records_of(key.owner()).at(key.record());
  if (shm::generation_of(record) != key.generation()) return {};
  const std::uint32_t state = record.state.load(std::memory_order_acquire);
  if (!detail::is_done(state) || (state & detail::kRecordHasRefs) == 0) return {};
  if ((state & detail::kRecordStateMask) == detail::kRecordDoneInline)
    return {record.payload, std::min<std::size_t>(record.size, detail::kRecordInlineBytes)};
  detail::BlockRef block;
  std::memcpy(&block, record.payload, sizeof(block));
  const shm::Segment& segment = control.segment();
  if (block.offset > segment.bytes() || block.size > segment.bytes() - block.offset) return {};
  return {segment.base() + block.offset, static_cast<std::size_t>(block.size)};
}

// The words of all keys that somebody who may read what others hold of `dead` comes to, or nothing if bytes are damaged.
std::optional<std::unordered_set<std::uint64_t>> reachable(const shm::Control& control, std::uint32_t dead,
                                                           std::uint32_t processes) {
  std::vector<ObjectKey> to_read;
  for (std::uint32_t p = 0; p < processes; ++p) {
    if (p == dead || control.slot(p).life.load(std::memory_order_acquire) == ProcessLife::kFree) continue;
    shm::HoldTable(control.segment(), control.slot(p).holds).for_each([&](ObjectKey key) {
      if (key.owner() == dead) to_read.push_back(key);
    });
  }
  std::unordered_set<std::uint64_t> found;
  while (!to_read.empty()) {
    const std::span<const std::byte> value = value_with_names(control, to_read.back());
    to_read.pop_back();
    if (value.empty()) continue;
    const bool is_sound = detail::visit_refs(value, [&](std::uint64_t position) {
      detail::RefName name;
      std::memcpy(&name, value.data() + position, sizeof(name));
      const ObjectKey key{name.words[0]};
      if (found.insert(key.word).second && key.owner() == dead) to_read.push_back(key);
    });
    if (!is_sound) return std::nullopt;
  }
  return found;
}

}  // namespace

void release_needless_holds(const shm::Control& control, std::uint32_t dead) {
  control.end_release(dead);
  std::vector<ObjectKey> held;
  shm::HoldTable(control.segment(), control.slot(dead).holds).for_each([&](ObjectKey key) { held.push_back(key); });
  if (held.empty()) return;
  // Others may take holds all the time, and then this look was in vain; the next one comes.
  constexpr int kLooksMax = 3;
  for (int looks = 0; looks < kLooksMax; ++looks) {
    const shm::Control::HoldsLooked before = control.holds_looked();
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (control.has_tasks_of(dead)) return;
    const std::optional<std::unordered_set<std::uint64_t>> needed = reachable(control, dead, before.processes);
    if (!needed) return;
    const auto is_needed = [&](ObjectKey key) { return needed->contains(key.word); };
    if (std::all_of(held.begin(), held.end(), is_needed)) return;
    std::atomic_thread_fence(std::memory_order_seq_cst);
    if (before != control.holds_looked()) continue;
    // What nobody reaches now nobody will: a hold is taken by who has one already, or reads a value that names the object.
    std::erase_if(held, is_needed);
    for (const ObjectKey key : held) control.release_hold(dead, key);
    return;
  }
}

}  // namespace rayx::node

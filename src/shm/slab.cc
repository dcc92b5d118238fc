#include "shm/slab.hpp"

#include <algorithm>
#include <cstring>

namespace rayx::shm {
namespace {

struct SlabPlan {
  std::uint32_t blocks;
  std::uint32_t headers_begin;
  std::uint32_t blocks_begin;
};

// As many blocks as fit behind the header, their bits (whole cache lines) and their headers.
constexpr SlabPlan plan_for(std::uint32_t block_bytes) {
  std::uint32_t blocks =
      static_cast<std::uint32_t>((kSlabBytes - sizeof(SlabHeader)) / (block_bytes + sizeof(BlockHeader)));
  while (true) {
    const std::uint32_t bits_bytes = (blocks + 511) / 512 * 64;
    const std::uint32_t headers_begin = static_cast<std::uint32_t>(sizeof(SlabHeader)) + bits_bytes;
    const std::uint32_t headers_bytes = blocks * static_cast<std::uint32_t>(sizeof(BlockHeader));
    const std::uint32_t blocks_begin = (headers_begin + headers_bytes + 63) / 64 * 64;
    if (std::uint64_t{blocks_begin} + std::uint64_t{blocks} * block_bytes <= kSlabBytes)
      return SlabPlan{blocks, headers_begin, blocks_begin};
    --blocks;
  }
}
static_assert(plan_for(64).blocks > 3200 && plan_for(64).blocks <= UINT16_MAX);
static_assert(plan_for(kSlabPayloadMax_bytes).blocks == 7);

}  // namespace

void SlabAllocator::add_slab(Offset base, std::uint64_t serial) {
  RAYX_CHECK(base != kNoOffset && base % kSlabBytes == 0 && base + kSlabBytes <= segment_.bytes(),
             "slab does not lie in the arena", base);
  auto leased = std::make_unique<Leased>();
  leased->base = base;
  leased->serial = serial;
  if (free_indices_.empty()) {
    leased->index = static_cast<std::uint32_t>(slabs_.size());
    slabs_.emplace_back();
  } else {
    leased->index = free_indices_.back();
    free_indices_.pop_back();
  }
  spare_.push_back(leased.get());
  slabs_[leased->index] = std::move(leased);
  ++slab_count_;
}

// Makes an empty slab one of `size_class`. No block of it is in use, so nobody else looks at it, but for the node after a death.
void SlabAllocator::format(Leased& leased, std::uint32_t size_class) noexcept {
  const std::uint32_t block_bytes = kSlabClassBytes[size_class];
  const SlabPlan plan = plan_for(block_bytes);
  auto* bytes = segment_.at<std::byte>(leased.base);
  SlabHeader& header = *segment_.at<SlabHeader>(leased.base);
  RAYX_KILL_POINT("slab.format.before");
  header.magic.store(0, std::memory_order_release);
  RAYX_KILL_POINT("slab.format.unmarked");
  std::atomic_signal_fence(std::memory_order_seq_cst);
  std::memset(bytes + sizeof(SlabHeader), 0, plan.blocks_begin - sizeof(SlabHeader));
  RAYX_KILL_POINT("slab.format.cleared");
  header.serial = leased.serial;
  header.lessee = me_;
  header.lessee_index = leased.index;
  header.block_bytes = block_bytes;
  header.blocks = plan.blocks;
  header.reciprocal =
      static_cast<std::uint32_t>(((std::uint64_t{1} << 31) + block_bytes / 64 - 1) / (block_bytes / 64));
  header.headers_begin = plan.headers_begin;
  header.blocks_begin = plan.blocks_begin;
  header.size_class = size_class;
  RAYX_KILL_POINT("slab.format.described");
  header.magic.store(kSlabMagic, std::memory_order_release);
  RAYX_KILL_POINT("slab.format.marked");

  leased.size_class = size_class;
  leased.blocks = plan.blocks;
  leased.block_bytes = block_bytes;
  leased.first_block = leased.base + plan.blocks_begin;
  leased.headers = reinterpret_cast<BlockHeader*>(bytes + plan.headers_begin);
  leased.is_listed = false;
  leased.free_count = 0;
  leased.free_blocks = std::make_unique<std::uint16_t[]>(plan.blocks);
  for (std::uint32_t i = plan.blocks; i > 0; --i) leased.put_free(i - 1);
  classes_[size_class].members.push_back(&leased);
}

// Takes an empty slab out of its class.
void SlabAllocator::forget_class(Leased& leased) noexcept {
  if (leased.size_class == kNoClass) {
    std::erase(spare_, &leased);
    return;
  }
  SizeClass& of = classes_[leased.size_class];
  std::erase(of.members, &leased);
  if (leased.is_listed) std::erase(of.partial, &leased);
  if (of.current == &leased) of.current = nullptr;
  leased.size_class = kNoClass;
  leased.is_listed = false;
  leased.free_count = leased.blocks = 0;
}

void SlabAllocator::note_room(Leased& leased) noexcept {
  SizeClass& of = classes_[leased.size_class];
  if (leased.is_listed || of.current == &leased) return;
  leased.is_listed = true;
  of.partial.push_back(&leased);
}

// Takes up the blocks that other processes have freed. Their headers are cleared before their bits: a death in between leaves a
// bit without a header, which is free; the other way round would leave a header that a record may still name for a moment.
std::uint32_t SlabAllocator::collect(Leased& leased) noexcept {
  const Slab slab(segment_, leased.base);
  std::uint32_t collected = 0;
  for (std::uint32_t word = 0; word < slab.free_words(); ++word) {
    std::atomic<std::uint64_t>& free_word = slab.free_word(word * 64);
    const std::uint64_t bits = free_word.load(std::memory_order_acquire);
    if (bits == 0) continue;
    for (std::uint64_t rest = bits; rest != 0; rest &= rest - 1) {
      leased.headers[word * 64 + static_cast<std::uint32_t>(std::countr_zero(rest))].use.store(
          0, std::memory_order_relaxed);
      RAYX_KILL_POINT("slab.collect.header_cleared");
    }
    RAYX_KILL_POINT("slab.collect.before_bits");
    free_word.fetch_and(~bits, std::memory_order_acq_rel);
    RAYX_KILL_POINT("slab.collect.after_bits");
    // Downwards, so that the lowest address is taken first.
    for (std::uint64_t rest = bits; rest != 0;) {
      const int bit = 63 - std::countl_zero(rest);
      rest &= ~(std::uint64_t{1} << bit);
      leased.put_free(word * 64 + static_cast<std::uint32_t>(bit));
      ++collected;
    }
  }
  return collected;
}

SlabAllocator::Leased* SlabAllocator::find_slab(std::uint32_t size_class) noexcept {
  SizeClass& of = classes_[size_class];
  if (of.current != nullptr && collect(*of.current) > 0) return of.current;
  while (!of.partial.empty()) {
    Leased* leased = of.partial.back();
    of.partial.pop_back();
    leased->is_listed = false;
    if (leased->free_count > 0) return of.current = leased;
  }
  const std::size_t sweep = std::min<std::size_t>(of.members.size(), kSweepSlabsMax);
  for (std::size_t i = 0; i < sweep; ++i) {
    of.sweep_at = (of.sweep_at + 1) % of.members.size();
    Leased* leased = of.members[of.sweep_at];
    if (collect(*leased) > 0) return of.current = leased;
  }
  Leased* empty = spare_.empty() ? find_empty() : spare_.back();
  if (empty == nullptr) return nullptr;
  forget_class(*empty);
  format(*empty, size_class);
  return of.current = empty;
}

SlabAllocator::Leased* SlabAllocator::find_empty() const noexcept {
  if (!spare_.empty()) return spare_.back();
  for (const SizeClass& of : classes_) {
    if (of.current != nullptr && of.current->is_empty()) return of.current;
    for (Leased* leased : of.partial)
      if (leased->is_empty()) return leased;
  }
  return nullptr;
}

void SlabAllocator::collect_all() noexcept {
  for (const std::unique_ptr<Leased>& leased : slabs_) {
    if (leased == nullptr || leased->size_class == kNoClass) continue;
    if (collect(*leased) > 0) note_room(*leased);
  }
}

std::optional<Offset> SlabAllocator::take_empty(std::uint32_t keep) noexcept {
  std::uint32_t empty = 0;
  Leased* last = nullptr;
  for (const std::unique_ptr<Leased>& leased : slabs_) {
    if (leased == nullptr || !leased->is_empty()) continue;
    ++empty;
    last = leased.get();
  }
  if (empty <= keep) return std::nullopt;
  const Offset base = last->base;
  RAYX_KILL_POINT("slab.retire.before");
  segment_.at<SlabHeader>(base)->magic.store(0, std::memory_order_release);
  RAYX_KILL_POINT("slab.retire.after");
  forget_class(*last);
  free_indices_.push_back(last->index);
  slabs_[last->index].reset();
  --slab_count_;
  return base;
}

std::uint64_t SlabAllocator::blocks_in_use() const noexcept {
  std::uint64_t used = 0;
  for (const std::unique_ptr<Leased>& leased : slabs_)
    if (leased != nullptr) used += leased->blocks - leased->free_count;
  return used;
}

bool SlabAllocator::is_valid() const {
  std::uint32_t count = 0;
  for (const std::unique_ptr<Leased>& leased : slabs_) {
    if (leased == nullptr) continue;
    ++count;
    if (slabs_[leased->index] != leased) return false;
    if (leased->size_class == kNoClass) {
      if (std::count(spare_.begin(), spare_.end(), leased.get()) != 1) return false;
      continue;
    }
    const SizeClass& of = classes_[leased->size_class];
    if (std::count(of.members.begin(), of.members.end(), leased.get()) != 1) return false;
    if (std::count(of.partial.begin(), of.partial.end(), leased.get()) != (leased->is_listed ? 1 : 0)) return false;
    // Room that no list leads to would be lost.
    if (leased->free_count > 0 && !leased->is_listed && of.current != leased.get()) return false;
    const Slab slab(segment_, leased->base);
    if (!slab.is_formatted(leased->serial) || slab.header().lessee_index != leased->index) return false;
    std::vector<bool> is_free(leased->blocks);
    for (std::uint32_t i = 0; i < leased->free_count; ++i) {
      const std::uint32_t block = leased->free_blocks[i];
      if (block >= leased->blocks || is_free[block] || slab.use_of(block) != BlockUse::kFree) return false;
      is_free[block] = true;
    }
    for (std::uint32_t i = 0; i < leased->blocks; ++i)
      if (!is_free[i] && slab.use_of(i) == BlockUse::kFree) return false;
  }
  return count == slab_count_;
}

}  // namespace rayx::shm

// The inside of Array and ArrayBuilder, for the codec and put().
#pragma once

#include <cstring>
#include <new>

#include <rayx/array.hpp>

#pragma GCC visibility push(default)
namespace rayx::detail {

inline constexpr codec::Keep::Counter kCellCounter{
    [](void* cell) noexcept { count_up(static_cast<RefCell*>(cell)); },
    [](void* cell) noexcept { drop_ref(static_cast<RefCell*>(cell)); },
};

// Elements that had to be copied out of bytes that do not live long enough.
struct alignas(64) CopiedElements {
  std::atomic<std::uint32_t> refs{1};

  static CopiedElements* make(const std::byte* from, std::size_t bytes) {
    auto* const copy = new (::operator new(sizeof(CopiedElements) + bytes, std::align_val_t{64})) CopiedElements;
    std::memcpy(copy->data(), from, bytes);
    return copy;
  }
  std::byte* data() noexcept { return reinterpret_cast<std::byte*>(this + 1); }
  static void add(void* self) noexcept {
    static_cast<CopiedElements*>(self)->refs.fetch_add(1, std::memory_order_relaxed);
  }
  static void drop(void* self) noexcept {
    if (static_cast<CopiedElements*>(self)->refs.fetch_sub(1, std::memory_order_acq_rel) == 1) {
      ::operator delete(self, std::align_val_t{64});
    }
  }
  static constexpr codec::Keep::Counter counter() noexcept { return {&add, &drop}; }
};
inline constexpr codec::Keep::Counter kCopyCounter = CopiedElements::counter();

struct ArrayAccess {
  // The elements at `bytes`, which `keep` keeps; an empty one: a copy of them. count > 0.
  template <class T>
  static Array<T> make(const std::byte* bytes, std::size_t count, codec::Keep keep) {
    Array<T> array;
    array.size_ = count;
    if (!keep) {
      CopiedElements* const copy = CopiedElements::make(bytes, count * sizeof(T));
      bytes = copy->data();
      keep = codec::Keep(copy, &kCopyCounter);
    }
    array.data_ = reinterpret_cast<const T*>(bytes);
    array.keep_ = std::move(keep);
    return array;
  }
  // The builder's block as an encoded Array<T>; the builder is empty afterwards.
  template <class T>
  static ArrayBlock take(ArrayBuilder<T>& builder) noexcept {
    builder.data_ = nullptr;
    builder.size_ = 0;
    return std::exchange(builder.block_, {});
  }
};

// In the library. Puts a finished builder's block; throws if its runtime is gone.
RefCell* put_array(ArrayBlock array);

}  // namespace rayx::detail
#pragma GCC visibility pop

// Array<T>: an immutable array that lies in the object store and is read there, in every process, without a copy.
#pragma once

#include <cstddef>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <rayx/codec.hpp>
#include <rayx/object_ref.hpp>

#pragma GCC visibility push(default)
namespace rayx {

namespace detail {
struct ArrayAccess;

struct ArrayBlock {
  Block block;
  std::uint64_t data_offset = 0;
  std::uint32_t runtime = 0;  // that it was reserved from
};
// In the library. The bytes are those of a vector (docs/design/codec.md): the count, padding, the elements.
ArrayBlock reserve_array(std::size_t count, std::size_t element_bytes, std::size_t element_align);
void abandon_array(ArrayBlock& block) noexcept;
}  // namespace detail

// Numbers, enums, and structs of them: what is encoded by one memcpy.
template <class T>
inline constexpr bool kCanBeInArray = codec::detail::kIsFlat<T> && alignof(T) <= 64;

// Cheap to copy: copies share the elements. It keeps them alive, in the store, until the last copy is destroyed; the elements
// never change. Any thread.
template <class T>
class Array {
 public:
  static_assert(kCanBeInArray<T>,
                "rayx: the elements of an Array are numbers, enums, or trivially copyable structs of them");
  using value_type = T;
  using const_iterator = const T*;
  using iterator = const T*;

  Array() noexcept = default;
  const T* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  const T* begin() const noexcept { return data_; }
  const T* end() const noexcept { return data_ + size_; }
  const T& operator[](std::size_t index) const noexcept { return data_[index]; }
  const T& at(std::size_t index) const {
    if (index >= size_) throw std::out_of_range("rayx::Array::at: the index lies outside the array");
    return data_[index];
  }
  const T& front() const noexcept { return data_[0]; }
  const T& back() const noexcept { return data_[size_ - 1]; }
  operator std::span<const T>() const noexcept { return {data_, size_}; }

 private:
  friend struct detail::ArrayAccess;
  const T* data_ = nullptr;
  std::size_t size_ = 0;
  codec::Keep keep_;  // what they lie in
};

// An array under construction, in its final place in the object store. `put(std::move(builder))` and returning it from a task
// (the result is then an Array<T>) copy nothing. The elements are not initialised: write each before that.
// One thread at a time. The constructor may wait for room, and throws OutOfMemory and NotInitialized.
template <class T>
class [[nodiscard]] ArrayBuilder {
 public:
  static_assert(kCanBeInArray<T>,
                "rayx: the elements of an Array are numbers, enums, or trivially copyable structs of them");
  using value_type = T;

  explicit ArrayBuilder(std::size_t size)
      : block_(detail::reserve_array(size, sizeof(T), alignof(T))),
        data_(reinterpret_cast<T*>(block_.block.data + block_.data_offset)),
        size_(size) {}
  ArrayBuilder(ArrayBuilder&& other) noexcept
      : block_(std::exchange(other.block_, {})),
        data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)) {}
  ArrayBuilder& operator=(ArrayBuilder&& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }
  ~ArrayBuilder() {
    if (block_.block.data != nullptr) detail::abandon_array(block_);
  }

  T* data() noexcept { return data_; }
  std::size_t size() const noexcept { return size_; }
  T* begin() noexcept { return data_; }
  T* end() noexcept { return data_ + size_; }
  T& operator[](std::size_t index) noexcept { return data_[index]; }
  operator std::span<T>() noexcept { return {data_, size_}; }

 private:
  friend struct detail::ArrayAccess;
  detail::ArrayBlock block_;
  T* data_;
  std::size_t size_;
};

}  // namespace rayx
#pragma GCC visibility pop

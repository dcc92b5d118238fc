// Array<T>: an immutable array that lies in the object store and is read there, in every process, without a copy.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <span>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <rayx/object_ref.hpp>

#pragma GCC visibility push(default)
namespace rayx {

namespace detail {
struct ArrayAccess;

// An encoded Array: the count (8 bytes), zeros up to 64, the elements. 64-byte aligned, as its block is.
inline constexpr std::size_t kArrayHeaderBytes = 64;
struct ArrayBlock {
  Block block;
  std::uint32_t runtime = 0;  // that it was reserved from
};
ArrayBlock reserve_array(std::size_t count, std::size_t element_bytes);  // writes the header
void abandon_array(ArrayBlock& block) noexcept;
}  // namespace detail

template <class T>
inline constexpr bool kCanBeInArray = std::is_trivially_copyable_v<T> && !std::is_pointer_v<T> && alignof(T) <= 64;

// Cheap to copy: copies share the elements. It keeps them alive, in the store, until the last copy is destroyed; the elements
// never change. Any thread.
template <class T>
class Array {
 public:
  static_assert(kCanBeInArray<T>, "rayx: the elements of an Array are trivially copyable and not pointers");
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
  ObjectRef<void> keep_;                // what they lie in, or
  std::shared_ptr<const void> copied_;  // a copy, where the bytes do not live long enough
};

// An array under construction, in its final place in the object store. `put(std::move(builder))` and returning it from a task
// (the result is then an Array<T>) copy nothing. The elements are not initialised: write each before that.
// One thread at a time. The constructor may wait for room, and throws OutOfMemory and NotInitialized.
template <class T>
class [[nodiscard]] ArrayBuilder {
 public:
  static_assert(kCanBeInArray<T>, "rayx: the elements of an Array are trivially copyable and not pointers");
  using value_type = T;

  explicit ArrayBuilder(std::size_t size)
      : block_(detail::reserve_array(size, sizeof(T))),
        data_(reinterpret_cast<T*>(block_.block.data + detail::kArrayHeaderBytes)),
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

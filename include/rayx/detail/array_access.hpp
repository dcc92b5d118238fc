// The inside of Array and ArrayBuilder, for the codec and put().
#pragma once

#include <cstring>

#include <rayx/array.hpp>

#pragma GCC visibility push(default)
namespace rayx::detail {

struct ArrayAccess {
  // Takes over one count of `keep`, in which `data` lies; nullptr: copies.
  template <class T>
  static Array<T> make(const T* data, std::size_t size, RefCell* keep) {
    Array<T> array;
    array.size_ = size;
    if (size == 0) return array;
    if (keep != nullptr) {
      array.keep_ = RefAccess::adopt<ObjectRef<void>>(keep);
      array.data_ = data;
      return array;
    }
    struct alignas(64) Line {
      std::byte bytes[64];
    };
    const std::size_t bytes = size * sizeof(T);
    std::shared_ptr<Line[]> copy(new Line[(bytes + sizeof(Line) - 1) / sizeof(Line)]);
    std::memcpy(static_cast<void*>(copy.get()), data, bytes);
    array.data_ = reinterpret_cast<const T*>(copy.get());
    array.copied_ = std::move(copy);
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
// The cell for a name inside a value, with one count; nullptr for the empty name. Throws where it cannot be.
RefCell* import_name(const RefName& name);

}  // namespace rayx::detail
#pragma GCC visibility pop

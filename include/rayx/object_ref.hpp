// ObjectRef<T>: the name of a value that exists, or will: an object or a task's result.
#pragma once

#include <functional>
#include <utility>

#include <rayx/detail/ref_count.hpp>

namespace rayx {

// One pointer. Moving touches nothing shared; copying counts; the value is freed when the last reference to it, in any process
// and inside any value, is gone. Not bound to a thread; one object is used by one thread at a time, like a shared_ptr.
// A default-constructed or moved-from one names nothing: using it throws InvalidArgument.
template <class T>
class [[nodiscard]] ObjectRef {
 public:
  using Value = T;

  ObjectRef() noexcept = default;
  ObjectRef(const ObjectRef& other) noexcept : cell_(other.cell_) {
    if (cell_ != nullptr) detail::count_up(cell_);
  }
  ObjectRef(ObjectRef&& other) noexcept : cell_(std::exchange(other.cell_, nullptr)) {}
  ObjectRef& operator=(const ObjectRef& other) noexcept {
    ObjectRef copy(other);
    swap(copy);
    return *this;
  }
  ObjectRef& operator=(ObjectRef&& other) noexcept {
    ObjectRef moved(std::move(other));
    swap(moved);
    return *this;
  }
  ~ObjectRef() {
    if (cell_ != nullptr) detail::drop_ref(cell_);
  }

  void swap(ObjectRef& other) noexcept { std::swap(cell_, other.cell_); }
  friend void swap(ObjectRef& a, ObjectRef& b) noexcept { a.swap(b); }

  // Whether it names something.
  explicit operator bool() const noexcept { return cell_ != nullptr; }
  // The value is there, or the error: get() will not wait. About a nanosecond; never sleeps.
  bool is_ready() const noexcept { return cell_ != nullptr && detail::is_ready(cell_); }
  // The same object. Two references to one object that reached this process on different ways may compare unequal.
  friend bool operator==(const ObjectRef&, const ObjectRef&) = default;

 private:
  friend struct detail::RefAccess;
  detail::RefCell* cell_ = nullptr;
};

// An ObjectRef of any type, to wait for values of different types together.
class AnyRef {
 public:
  AnyRef() noexcept = default;
  template <class T>
  AnyRef(ObjectRef<T> ref) noexcept  // implicit: std::vector<AnyRef>{a, b, c}
      : ref_(detail::RefAccess::adopt<ObjectRef<void>>(detail::RefAccess::release(ref))), type_(&kTypeTag<T>) {}

  bool is_ready() const noexcept { return ref_.is_ready(); }
  explicit operator bool() const noexcept { return static_cast<bool>(ref_); }

  // The reference again; an empty one if it was not an ObjectRef<T>.
  template <class T>
  ObjectRef<T> as() const noexcept {
    if (type_ != &kTypeTag<T> || !ref_) return {};
    detail::RefCell* const cell = detail::RefAccess::cell(ref_);
    detail::count_up(cell);
    return detail::RefAccess::adopt<ObjectRef<T>>(cell);
  }
  template <class T>
  friend bool operator==(const AnyRef& any, const ObjectRef<T>& ref) noexcept {
    return detail::RefAccess::cell(any) == detail::RefAccess::cell(ref);
  }
  friend bool operator==(const AnyRef& a, const AnyRef& b) noexcept { return a.ref_ == b.ref_; }

 private:
  friend struct detail::RefAccess;
  template <class T>
  static constexpr char kTypeTag = 0;
  ObjectRef<void> ref_;
  const char* type_ = nullptr;
};

namespace detail {
template <class T>
inline constexpr bool kIsObjectRef = false;
template <class T>
inline constexpr bool kIsObjectRef<ObjectRef<T>> = true;
}  // namespace detail

}  // namespace rayx

template <class T>
struct std::hash<rayx::ObjectRef<T>> {
  std::size_t operator()(const rayx::ObjectRef<T>& ref) const noexcept {
    return std::hash<const void*>()(rayx::detail::RefAccess::cell(ref));
  }
};

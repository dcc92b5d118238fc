// Parameters of functions: how an argument becomes what the parameter is encoded as, and what holds it in the worker.
#pragma once

#include <rayx/detail/codec_values.hpp>

namespace rayx::codec {

// ---- In the caller

// The argument as the type that is encoded for parameter P: itself if it has that type already, else converted as in a normal
// call (narrowing too). Keep it over both passes: `const auto& value = codec::to_parameter<P>(argument);`.
template <class P, class A>
decltype(auto) to_parameter(const A& argument) {
  using Parameter = std::remove_cvref_t<P>;
  if constexpr (std::is_same_v<Parameter, A>) {
    return (argument);
  } else {
    return static_cast<Parameter>(argument);
  }
}
// Whether it can be: the implicit conversion of a call from an lvalue that stays whole.
template <class P, class A>
inline constexpr bool kIsParameterFor =
    std::is_same_v<std::remove_cvref_t<P>, A> || std::is_convertible_v<const A&, std::remove_cvref_t<P>>;

// ---- In the worker

namespace detail {

// Flat elements where they lie, or in a copy if they lie there at the wrong alignment.
template <class T>
class InPlace {
 public:
  InPlace() = default;
  explicit InPlace(Run<T> run) : data_(reinterpret_cast<const T*>(run.bytes)), count_(run.count) {
    if (is_aligned_for<T>(run.bytes)) [[likely]]
      return;
    copy_.reset(static_cast<std::byte*>(::operator new(run.count * sizeof(T), std::align_val_t{alignof(T)})));
    std::memcpy(copy_.get(), run.bytes, run.count * sizeof(T));
    data_ = reinterpret_cast<const T*>(copy_.get());
  }
  const T* data() const noexcept { return data_; }
  std::size_t count() const noexcept { return count_; }

 private:
  struct Free {
    void operator()(std::byte* memory) const noexcept { ::operator delete(memory, std::align_val_t{alignof(T)}); }
  };
  const T* data_ = nullptr;
  std::size_t count_ = 0;
  std::unique_ptr<std::byte, Free> copy_;
};

template <class T>
struct ElementOf {
  using Type = void;
};
template <class T>
  requires(kIsSpan<T> || kIsStringView<T> || kIsStdArray<T> || kKind<T> == Kind::kRun)
struct ElementOf<T> {
  using Type = std::remove_cv_t<typename T::value_type>;
};

// A view that finds its elements as they are in the encoding of Encoded.
template <class View, class Encoded>
concept ReadInPlace =
    kIsParameterView<View> && std::is_same_v<typename ElementOf<View>::Type, typename ElementOf<Encoded>::Type>;

}  // namespace detail

// Holds the decoded argument for a parameter of type P. `Encoded` is what the bytes are: P's own type, or the type of the object
// that was passed for it, which then converts. Must live until the function has returned; movable.
template <class P, class Encoded = std::remove_cvref_t<P>>
class Parameter {
 public:
  explicit Parameter(Decoder& d) : value_(detail::read_value<Encoded>(d)) {}

  // What the function is called with. Once: the value may be moved from.
  decltype(auto) get() {
    if constexpr (std::is_same_v<std::remove_cvref_t<P>, Encoded>) {
      if constexpr (std::is_lvalue_reference_v<P>) {
        return static_cast<P>(value_);
      } else {
        return static_cast<Encoded&&>(value_);
      }
    } else {
      return static_cast<std::remove_cvref_t<P>>(static_cast<Encoded&&>(value_));
    }
  }
  operator P() { return static_cast<P>(get()); }

 private:
  Encoded value_;
};

template <class P, class Encoded>
  requires detail::ReadInPlace<std::remove_cvref_t<P>, Encoded>
class Parameter<P, Encoded> {
  using View = std::remove_cvref_t<P>;
  using Element = typename detail::ElementOf<View>::Type;

 public:
  explicit Parameter(Decoder& d) {
    const detail::Run<Element> run = read(d);
    if constexpr (detail::kIsSpan<View>) {
      if constexpr (View::extent != std::dynamic_extent) {
        if (run.count != View::extent) {
          d.fail("an array does not have the length of the parameter's std::span");
          return;
        }
      }
    }
    if (run.bytes != nullptr) elements_ = detail::InPlace<Element>(run);
  }

  View get() const { return View(elements_.data(), elements_.count()); }
  operator View() const { return get(); }

 private:
  static detail::Run<Element> read(Decoder& d) {
    if constexpr (detail::kIsStdArray<Encoded>) {
      constexpr std::size_t kCount = std::tuple_size_v<Encoded>;
      const std::byte* const bytes = d.take(sizeof(Encoded));
      if (bytes == nullptr || kCount == 0) return {};
      if (!detail::is_valid_run<Element>(bytes, kCount)) {
        d.fail("an element of an array is not valid: a bool is neither 0 nor 1");
        return {};
      }
      return {bytes, kCount};
    } else {
      return detail::read_run<Element>(d);
    }
  }
  detail::InPlace<Element> elements_;
};

// Reads the argument for a parameter of type P. Ask d.failed() before get() is called.
template <class P, class Encoded = std::remove_cvref_t<P>>
Parameter<P, Encoded> decode_parameter(Decoder& d) {
  return Parameter<P, Encoded>(d);
}

}  // namespace rayx::codec

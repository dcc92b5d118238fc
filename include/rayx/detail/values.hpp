// Values to bytes and back, as the door needs it. The one place where the door meets the codec.
#pragma once

#include <new>
#include <vector>

#include <rayx/detail/plain_codec.hpp>

#pragma GCC visibility push(default)
namespace rayx::detail {

// What a function's result is stored as: itself, but an ArrayBuilder becomes the Array that it built.
template <class R>
struct ResultValue {
  using Type = R;
};
template <class T>
struct ResultValue<ArrayBuilder<T>> {
  using Type = Array<T>;
};

// Stands where an argument is passed as a dependency.
struct Nothing {};

template <class T>
inline constexpr bool kCanBeValue = std::is_void_v<T> || kFlaw<T, false> == Flaw::kNone;

template <class T, class Pass>
void pass_value(Pass& pass, const T& value) {
  if constexpr (!std::is_same_v<T, Nothing>) Plain<T>::pass(pass, value);
}

// The bytes of one or several values, one after another: in `small_` if they fit, else in a block of the backend, which is given
// back if it is not handed over.
class Encoding {
 public:
  Encoding() = default;
  Encoding(const Encoding&) = delete;
  Encoding& operator=(const Encoding&) = delete;
  ~Encoding() {
    if (encoded_.block.data != nullptr) [[unlikely]]
      backend_->abandon(encoded_.block);
  }

  // `small`: where up to kRecordInlineBytes may be written instead of the stack. `trailer`: see Encoded::refs.
  template <class... Ts>
  void encode(Backend& backend, const char* what, bool trailer, std::byte* small, const Ts&... values) {
    SizePass sizes;
    (pass_value(sizes, values), ...);
    backend_ = &backend;
    encoded_.size = sizes.at;
    if (sizes.refs > 0) {
      cells_.reserve(sizes.refs);
      names_.reserve(sizes.refs);
      sizes.align(8);
      if (trailer) encoded_.size = sizes.at + sizes.refs * sizeof(RefName) + sizeof(std::uint64_t);
    }
    std::byte* destination = small;
    if (encoded_.size > kRecordInlineBytes) {
      Failure failure;
      if (!backend.reserve(encoded_.size, encoded_.block, failure)) throw_failure(std::move(failure), what);
      destination = encoded_.block.data;
    } else {
      encoded_.small = destination;
    }
    WritePass out{destination, &backend, &cells_, &names_};
    (pass_value(out, values), ...);
    if (sizes.refs > 0) finish_refs(out, trailer);
  }

  bool has_refs() const noexcept { return !cells_.empty(); }
  const std::vector<RefCell*>& cells() const noexcept { return cells_; }
  // The callee owns the block from now on. The references stay held by the values that were encoded.
  Encoded hand_over() noexcept {
    encoded_.refs = cells_;
    Encoded result = encoded_;
    encoded_.block = {};
    return result;
  }

 private:
  void finish_refs(WritePass& out, bool trailer) {
    if (!trailer) return;
    out.align(8);
    out.bytes(names_.data(), names_.size() * sizeof(RefName));
    const std::uint64_t count = names_.size();
    out.bytes(&count, sizeof(count));
  }
  Backend* backend_ = nullptr;
  Encoded encoded_;
  std::vector<RefCell*> cells_;
  std::vector<RefName> names_;
};

inline RefCell* keep_cell(void* cell) noexcept {
  count_up(static_cast<RefCell*>(cell));
  return static_cast<RefCell*>(cell);
}

// One value that is alone in its bytes. `cell` keeps them alive; nullptr: they are copied where they would be read later.
template <class T>
T decode_whole(const std::byte* data, std::uint64_t size, RefCell* cell) {
  ReadPass in{data, size, cell == nullptr ? nullptr : &keep_cell, cell};
  return Plain<T>::read(in);
}

// The value arguments of a call, taken from left to right.
class ValueSequence {
 public:
  explicit ValueSequence(ExecContext& context)
      : in_{context.arguments, context.arguments_size, context.keep_arguments == nullptr ? nullptr : &keep, &context} {}
  template <class T>
  T take() {
    return Plain<T>::read(in_);
  }

 private:
  static RefCell* keep(void* context) {
    auto& execution = *static_cast<ExecContext*>(context);
    return execution.keep_arguments(execution);
  }
  ReadPass in_;
};

// Gives the execution a count of each reference inside its result.
void hold_result_refs(ExecContext& context, std::span<RefCell* const> cells);

template <class R>
void store_result(ExecContext& context, R&& value) {
  if constexpr (!std::is_same_v<typename ResultValue<R>::Type, R>) {
    const ArrayBlock array = ArrayAccess::take(value);
    context.result.block = array.block;
    context.result.size = array.block.size;
  } else {
    Encoding encoding;
    encoding.encode(*context.backend, "a task's result", true, context.inline_result, value);
    if (encoding.has_refs()) hold_result_refs(context, encoding.cells());
    context.result = encoding.hand_over();
    context.result.small = nullptr;
    context.result.refs = {context.result_refs, context.result_refs_count};
  }
}

}  // namespace rayx::detail
#pragma GCC visibility pop

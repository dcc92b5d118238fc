// Values to bytes and back, as the door needs it: the one place where calls and objects meet the codec.
#pragma once

#include <vector>

#include <rayx/array.hpp>
#include <rayx/codec.hpp>
#include <rayx/detail/array_access.hpp>
#include <rayx/detail/ref_codec.hpp>
#include <rayx/errors.hpp>

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
consteval std::size_t fixed_size() {
  if constexpr (std::is_same_v<T, Nothing>) {
    return 0;
  } else {
    return codec::kFixedSize<T>;
  }
}
template <class... Ts>
consteval std::size_t fixed_size_of_all() {
  std::size_t sum = 0;
  for (const std::size_t size : {std::size_t{0}, fixed_size<Ts>()...}) {
    if (size == codec::kNotFixed) return codec::kNotFixed;
    sum += size;
  }
  return sum;
}
template <class T>
void measure(const T& value, codec::SizeContext& sizes) {
  if constexpr (!std::is_same_v<T, Nothing>) codec::encoded_size(value, sizes);
}
template <class T>
void write(const T& value, codec::Encoder& encoder) {
  if constexpr (!std::is_same_v<T, Nothing>) codec::encode(value, encoder);
}

// The bytes of one or several values, one after another: in memory of the caller if they fit into a record, else in a block of the
// backend, which is given back if it is not handed over.
template <class... Ts>
class Encoding {
 public:
  static constexpr bool kMayHoldRefs = (codec::kMayHoldRefs<Ts> || ...);
  static constexpr std::size_t kFixed = fixed_size_of_all<Ts...>();
  static constexpr bool kIsSmall = !kMayHoldRefs && kFixed != codec::kNotFixed && kFixed <= kRecordInlineBytes;

  // `small`: kRecordInlineBytes, 8-byte aligned, which stay until the encoding was used.
  Encoding(Backend& backend, const char* what, std::byte* small, const Ts&... values) : backend_(backend) {
    if constexpr (kIsSmall) {
      codec::Encoder encoder(small, kFixed);
      (write(values, encoder), ...);
      encoded_.small = small;
      encoded_.size = kFixed;
    } else {
      codec::SizeContext sizes(refs_.sink());
      (measure(values, sizes), ...);
      if (sizes.failed()) [[unlikely]]
        throw_error(sizes.error());
      encoded_.size = sizes.size() + refs_.trailer_bytes();
      std::byte* destination = small;
      if (encoded_.size > kRecordInlineBytes) {
        Failure failure;
        if (!backend.reserve(encoded_.size, encoded_.block, failure)) [[unlikely]]
          throw_failure(std::move(failure), what);
        destination = encoded_.block.data;
      } else {
        encoded_.small = small;
      }
      write_all(destination, sizes.size(), values...);
    }
  }
  Encoding(const Encoding&) = delete;
  Encoding& operator=(const Encoding&) = delete;
  ~Encoding() {
    if constexpr (!kIsSmall) {
      if (encoded_.block.data != nullptr) [[unlikely]]
        backend_.abandon(encoded_.block);
    }
  }

  const std::vector<RefCell*>& cells() const noexcept { return refs_.cells; }
  // The callee owns the block from now on. The references stay held by the values that were encoded.
  Encoded hand_over() noexcept {
    if constexpr (kMayHoldRefs) encoded_.refs = refs_.cells;
    Encoded result = encoded_;
    encoded_.block = {};
    return result;
  }

 private:
  void write_all(std::byte* destination, std::size_t size, const Ts&... values) {
    try {
      codec::Encoder encoder(destination, size, nullptr, backend_.bulk_copy());
      (write(values, encoder), ...);
    } catch (...) {  // a function of the user's that serializes; the destructor does not run here
      if (encoded_.block.data != nullptr) backend_.abandon(encoded_.block);
      throw;
    }
    refs_.write_trailer(destination + size);
  }

  struct NoRefs {
    static constexpr codec::RefSink* sink() noexcept { return nullptr; }
    static constexpr std::size_t trailer_bytes() noexcept { return 0; }
    static void write_trailer(std::byte*) noexcept {}
  };
  Backend& backend_;
  Encoded encoded_;
  std::conditional_t<kMayHoldRefs, FoundRefs, NoRefs> refs_;
};

// ---- Back

// Ownership of the bytes of an object, for an Array that stays in them.
class CellKeep final : public codec::KeepSource {
 public:
  explicit CellKeep(RefCell* cell) noexcept : cell_(cell) {}
  codec::Keep keep() override {
    if (cell_ == nullptr) return {};
    count_up(cell_);
    return codec::Keep(cell_, &kCellCounter);
  }

 private:
  RefCell* cell_;
};

// One value that is alone in its bytes. `cell` keeps them alive; nullptr: what would stay in them is copied.
template <class T>
T decode_whole(const std::byte* data, std::uint64_t size, RefCell* cell) {
  CellKeep keep(cell);
  ImportedRefs refs;
  codec::Decoder decoder(data, size, &refs, &keep);
  T value = codec::decode_value<T>(decoder);
  if (decoder.failed()) [[unlikely]]
    refs.throw_why(decoder);
  return value;
}

// The arguments of one execution, taken from left to right.
class ArgumentSource final : private codec::KeepSource {
 public:
  explicit ArgumentSource(ExecContext& context)
      : context_(context), values_(context.arguments, context.arguments_size, &refs_, this) {}

  // The argument for a parameter of type P, encoded as E.
  template <class P, class E>
  codec::Parameter<P, E> take(std::uint32_t position) {
    if (next_part_ < context_.parts.size() && context_.parts[next_part_].position == position) {
      const ArgumentPart& part = context_.parts[next_part_++];
      CellKeep keep(part.keep);
      codec::Decoder decoder(part.data, part.size, &refs_, &keep);
      return read<P, E>(decoder);
    }
    return read<P, E>(values_);
  }

 private:
  template <class P, class E>
  codec::Parameter<P, E> read(codec::Decoder& decoder) {
    codec::Parameter<P, E> parameter(decoder);
    if (decoder.failed()) [[unlikely]]
      refs_.throw_why(decoder);
    return parameter;
  }
  codec::Keep keep() override {
    RefCell* const cell = context_.keep_arguments == nullptr ? nullptr : context_.keep_arguments(context_);
    return cell == nullptr ? codec::Keep() : codec::Keep(cell, &kCellCounter);
  }

  ExecContext& context_;
  ImportedRefs refs_;
  codec::Decoder values_;
  std::size_t next_part_ = 0;
};

// Gives the execution a count of each reference inside its result.
void hold_result_refs(ExecContext& context, std::span<RefCell* const> cells);

template <class R>
void store_result(ExecContext& context, R&& value) {
  if constexpr (!std::is_same_v<typename ResultValue<R>::Type, R>) {
    const ArrayBlock array = ArrayAccess::take(value);
    if (array.block.data == nullptr) throw_empty("a task's result (ArrayBuilder)");
    context.result.block = array.block;
    context.result.size = array.block.size;
  } else {
    Encoding<R> encoding(*context.backend, "a task's result", context.inline_result, value);
    if constexpr (Encoding<R>::kMayHoldRefs) {
      if (!encoding.cells().empty()) hold_result_refs(context, encoding.cells());
    }
    context.result = encoding.hand_over();
    context.result.small = nullptr;
    context.result.refs = {context.result_refs, context.result_refs_count};
  }
}

}  // namespace rayx::detail
#pragma GCC visibility pop

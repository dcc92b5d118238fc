// References and Arrays inside values.
#pragma once

#include <vector>

#include <rayx/codec.hpp>
#include <rayx/detail/array_access.hpp>
#include <rayx/detail/ref_positions.hpp>
#include <rayx/errors.hpp>
#include <rayx/object_ref.hpp>

#pragma GCC visibility push(default)
namespace rayx::detail {

// In the library. Throw InvalidArgument or NotInitialized for a cell that cannot be passed on.
RefName export_name(RefCell* cell);
// The cell for a name, with one count. nullptr with the reason if there is none.
RefCell* import_name(const RefName& name, Failure& failure) noexcept;

// Gathers the references of a value while it is measured: their cells, and where their names will stand.
class FoundRefs final : public codec::RefSink {
 public:
  std::vector<RefCell*> cells;
  RefPositions positions;

  void add(codec::RefToken token, std::size_t position) override {
    cells.push_back(reinterpret_cast<RefCell*>(token.words[0]));
    positions.add(position);
  }
  codec::RefSink* sink() noexcept { return this; }
  std::size_t trailer_bytes() const noexcept { return positions.trailer_bytes(); }
  void write_trailer(std::byte* to) const noexcept { positions.write(to); }
};

class ImportedRefs final : public codec::RefSource {
 public:
  void* adopt(const codec::RefToken& token) override {
    return import_name({{token.words[0], token.words[1]}}, failure_);
  }
  [[noreturn]] void throw_why(const codec::Decoder& decoder) {
    throw_error(failure_ != nullptr ? std::move(*failure_) : decoder.error());
  }

 private:
  Failure failure_;
};

// The bytes of an ObjectRef or ActorHandle: its name, zeros for an empty one.
template <class Ref>
struct RefCodec {
  static constexpr std::size_t kFixedSize = sizeof(RefName);
  static constexpr std::size_t kMinSize = sizeof(RefName);
  static constexpr bool kHoldsRefs = true;

  static void size(const Ref& ref, codec::SizeContext& context) {
    RefCell* const cell = RefAccess::cell(ref);
    if (cell == nullptr) {
      context.add(sizeof(RefName));
    } else {
      context.add_ref({{reinterpret_cast<std::uint64_t>(cell), 0}});
    }
  }
  static void encode(const Ref& ref, codec::Encoder& encoder) {
    RefCell* const cell = RefAccess::cell(ref);
    if (cell == nullptr) {
      encoder.require(sizeof(RefName));
      encoder.store(RefName{});
    } else {
      const RefName name = export_name(cell);
      encoder.write_ref({{name.words[0], name.words[1]}}, {{name.words[0], name.words[1]}});
    }
  }
  static Ref decode(codec::Decoder& decoder) {
    if (decoder.left() >= sizeof(RefName)) {
      codec::Decoder ahead = decoder;
      const RefName name = ahead.load<RefName>();
      if (name == RefName{}) {
        decoder.take(sizeof(RefName));
        return {};
      }
    }
    auto* const cell = static_cast<RefCell*>(decoder.adopt_ref());
    return cell == nullptr ? Ref() : RefAccess::adopt<Ref>(cell);
  }
};

}  // namespace rayx::detail

template <class T>
struct rayx::codec::Codec<rayx::ObjectRef<T>> : rayx::detail::RefCodec<rayx::ObjectRef<T>> {};

// The same bytes as a vector's, so that either is read as the other.
template <class T>
struct rayx::codec::Codec<rayx::Array<T>> {
  static constexpr std::size_t kMinSize = sizeof(std::uint64_t);
  static void size(const Array<T>& array, SizeContext& context) {
    context.add(sizeof(std::uint64_t));
    if (!array.empty()) context.add_run(array.size() * sizeof(T), alignof(T));
  }
  static void encode(const Array<T>& array, Encoder& encoder) {
    encoder.write_count(array.size());
    encoder.write_run(array.data(), array.size() * sizeof(T), alignof(T));
  }
  static Array<T> decode(Decoder& decoder) {
    const auto run = codec::detail::read_run<T>(decoder);
    if (run.count == 0) return {};
    Keep keep = codec::detail::is_aligned_for<T>(run.bytes) ? decoder.keep() : Keep();
    return rayx::detail::ArrayAccess::make<T>(run.bytes, run.count, std::move(keep));
  }
};
#pragma GCC visibility pop

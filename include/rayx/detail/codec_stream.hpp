// The three passes' cursors: SizeContext adds up, Encoder writes, Decoder reads. Standard library only.
//
// Numbers lie packed and unaligned; runs (arrays of flat elements) lie aligned relative to the start of the buffer, so that they
// can be read in place. docs/design/codec.md has the bytes and a worked example.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <utility>

#include <rayx/result.hpp>

namespace rayx::codec {

// A run of at least kWideRunBytes starts on a cache line, a shorter one where its elements want to be.
inline constexpr std::size_t kWideRunBytes = 256;
inline constexpr std::size_t kRunAlignMax = 64;
// From here on a run goes through Encoder's bulk copy.
inline constexpr std::size_t kBulkBytesMin = 64 << 10;
// Levels of values inside values (pointers, containers, optionals, variants): a guard of the stack. See nesting_cost.
inline constexpr std::size_t kNestingMax = 500;

// The name of a reference inside a value. What the words mean is between RefSink and RefSource.
struct RefToken {
  std::uint64_t words[2];
};

// Hears of the references inside a value while it is measured or encoded, and how many bytes lie before the name of each. Called
// by specialisations of Codec.
class RefSink {
 public:
  virtual void add(RefToken token, std::size_t position) = 0;

 protected:
  ~RefSink() = default;
};

// Turns a token back into a live reference.
class RefSource {
 public:
  // What the specialisation of Codec that asks takes over; nullptr: there is no such reference, the bytes are malformed.
  virtual void* adopt(const RefToken& token) = 0;

 protected:
  ~RefSource() = default;
};

// Shared ownership of the memory that is decoded from, in two words and without an allocation. Empty: nothing is kept.
class Keep {
 public:
  struct Counter {
    void (*add)(void* owner) noexcept;
    void (*drop)(void* owner) noexcept;
  };

  Keep() noexcept = default;
  // Takes over one count of `owner`.
  Keep(void* owner, const Counter* counter) noexcept : owner_(owner), counter_(counter) {}
  Keep(const Keep& other) noexcept : owner_(other.owner_), counter_(other.counter_) {
    if (counter_ != nullptr) counter_->add(owner_);
  }
  Keep(Keep&& other) noexcept
      : owner_(std::exchange(other.owner_, nullptr)), counter_(std::exchange(other.counter_, nullptr)) {}
  Keep& operator=(Keep other) noexcept {
    std::swap(owner_, other.owner_);
    std::swap(counter_, other.counter_);
    return *this;
  }
  ~Keep() {
    if (counter_ != nullptr) counter_->drop(owner_);
  }
  explicit operator bool() const noexcept { return counter_ != nullptr; }
  void* owner() const noexcept { return owner_; }
  // Gives up the count to the caller.
  void* release() noexcept {
    counter_ = nullptr;
    return std::exchange(owner_, nullptr);
  }

 private:
  void* owner_ = nullptr;
  const Counter* counter_ = nullptr;
};

// Gives out ownership of the decoder's bytes, to a value that stays in them. Asked only if there is one.
class KeepSource {
 public:
  virtual Keep keep() = 0;  // empty: the bytes die with the call, the value has to copy them

 protected:
  ~KeepSource() = default;
};

namespace detail {

// In the library; never on the fast path.
[[gnu::visibility("default"), gnu::cold]] Error malformed_error(const char* problem, std::size_t offset,
                                                                std::size_t size);
[[gnu::visibility("default"), gnu::cold]] Error not_encodable_error(const char* problem);
// The value changed between the two passes, or a serialize function is not the same in both: a bug of the caller.
[[noreturn, gnu::visibility("default"), gnu::cold]] void encoder_overrun(std::size_t wanted, std::size_t left,
                                                                         std::size_t size);

constexpr std::size_t padding(std::size_t offset, std::size_t align) noexcept { return (0 - offset) & (align - 1); }

constexpr std::size_t run_align(std::size_t bytes, std::size_t align) noexcept {
  return bytes >= kWideRunBytes || align > kRunAlignMax ? kRunAlignMax : align;
}

// A level of nesting is charged by the stack that it takes in decode, the same in all passes, so that what was encoded is
// decoded. Capped: a value of a type that is large but not nested in itself must pass.
template <class T>
inline constexpr std::size_t kNestingCost = 1 + (sizeof(T) / 1024 < 31 ? sizeof(T) / 1024 : 31);

}  // namespace detail

// The first pass: how many bytes a value, or several one after another, will take.
class SizeContext {
 public:
  explicit SizeContext(RefSink* refs = nullptr) noexcept : refs_(refs) {}

  std::size_t size() const noexcept { return size_; }
  // Whether the value cannot be encoded as it is (too deep, a valueless variant). It must not be encoded then.
  bool failed() const noexcept { return problem_ != nullptr; }
  Error error() const { return detail::not_encodable_error(problem_); }  // kInvalidArgument; only if failed()
  RefSink* refs() const noexcept { return refs_; }

  // ---- For codecs
  void add(std::size_t bytes) noexcept { size_ += bytes; }
  void add_run(std::size_t bytes, std::size_t align) noexcept {
    size_ += detail::padding(size_, detail::run_align(bytes, align)) + bytes;
  }
  void add_ref(RefToken token) {
    if (refs_ != nullptr) refs_->add(token, size_);
    add(sizeof(RefToken));
  }
  void fail(const char* problem) noexcept {
    if (problem_ == nullptr) problem_ = problem;
  }
  // Each true is followed by one leave() with the same cost.
  bool enter(std::size_t cost) noexcept {
    if (nesting_ + cost > kNestingMax) [[unlikely]] {
      fail(
          "values are nested too deeply inside each other (is there a cycle, or a long list linked by pointers? "
          "Keep the elements in a std::vector)");
      return false;
    }
    nesting_ += cost;
    return true;
  }
  void leave(std::size_t cost) noexcept { nesting_ -= cost; }

 private:
  std::size_t size_ = 0;
  std::size_t nesting_ = 0;
  const char* problem_ = nullptr;
  RefSink* refs_;
};

// The second pass: writes straight to where the bytes will stay. `size` is what the first pass said.
class Encoder {
 public:
  using BulkCopy = void (*)(void* to, const void* from, std::size_t bytes);

  // `begin` is 64-byte aligned if anything is to be read in place as a wide run, at least 8-byte aligned else.
  // `bulk_copy` copies runs from kBulkBytesMin on; nullptr: memcpy.
  Encoder(std::byte* begin, std::size_t size, RefSink* refs = nullptr, BulkCopy bulk_copy = nullptr) noexcept
      : begin_(begin), cursor_(begin), end_(begin + size), refs_(refs), bulk_copy_(bulk_copy) {}

  std::size_t written() const noexcept { return static_cast<std::size_t>(cursor_ - begin_); }
  std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - cursor_); }
  RefSink* refs() const noexcept { return refs_; }

  // ---- For codecs

  // Ends the process if fewer bytes are left. Codecs of variable size ask once for each part whose size is known; `store`
  // itself checks in debug builds only.
  void require(std::size_t bytes) const {
    if (bytes > left()) [[unlikely]]
      detail::encoder_overrun(bytes, left(), static_cast<std::size_t>(end_ - begin_));
  }
  template <class T>
    requires std::is_trivially_copyable_v<T>
  void store(const T& value) {
#ifdef RAYX_DEBUG_CHECKS
    require(sizeof(T));
#endif
    std::memcpy(cursor_, static_cast<const void*>(&value), sizeof(T));
    cursor_ += sizeof(T);
  }
  void write_count(std::size_t count) {
    require(sizeof(std::uint64_t));
    const std::uint64_t wide = count;
    store(wide);
  }
  void write_run(const void* from, std::size_t bytes, std::size_t align) {
    if (bytes == 0) return;
    const std::size_t gap = detail::padding(written(), detail::run_align(bytes, align));
    require(gap + bytes);
    std::memset(cursor_, 0, gap);
    cursor_ += gap;
    if (bytes >= kBulkBytesMin && bulk_copy_ != nullptr) {
      bulk_copy_(cursor_, from, bytes);
    } else {
      std::memcpy(cursor_, from, bytes);
    }
    cursor_ += bytes;
  }
  // Writes `written` and tells the sink of `told`: the name in the bytes, and what the sink knows the reference by.
  void write_ref(RefToken written, RefToken told) {
    require(sizeof(RefToken));
    if (refs_ != nullptr) refs_->add(told, this->written());
    store(written);
  }

 private:
  std::byte* const begin_;
  std::byte* cursor_;
  std::byte* const end_;
  RefSink* const refs_;
  BulkCopy const bulk_copy_;
};

// Reads bytes that may be damaged. The first failure sticks: from then on every read gives zeros and every count is zero, so a
// codec needs no check of its own to come to an end; whoever started the decoding asks failed() once.
class Decoder {
 public:
  Decoder(const std::byte* begin, std::size_t size, RefSource* refs = nullptr, KeepSource* keep = nullptr) noexcept
      : begin_(begin), cursor_(begin), end_(begin + size), refs_(refs), keep_(keep) {}

  bool failed() const noexcept { return problem_ != nullptr; }
  Error error() const {  // kMalformed; only if failed()
    return detail::malformed_error(problem_, failed_at_, static_cast<std::size_t>(end_ - begin_));
  }
  std::size_t consumed() const noexcept { return static_cast<std::size_t>(cursor_ - begin_); }
  std::size_t left() const noexcept { return static_cast<std::size_t>(end_ - cursor_); }

  // ---- For codecs

  // `problem` is a literal: "a bool is neither 0 nor 1".
  [[gnu::cold]] void fail(const char* problem) noexcept {
    if (problem_ == nullptr) {
      problem_ = problem;
      failed_at_ = consumed();
    }
    cursor_ = end_;
  }
  // The next bytes, unaligned; nullptr (and failed) if there are not as many.
  const std::byte* take(std::size_t bytes) noexcept {
    if (bytes > left()) [[unlikely]] {
      fail("the bytes end in the middle of a value");
      return nullptr;
    }
    const std::byte* const from = cursor_;
    cursor_ += bytes;
    return from;
  }
  // For any T for which every pattern of bytes is a value.
  template <class T>
    requires std::is_trivially_copyable_v<T>
  T load() noexcept {
    T value{};
    if (const std::byte* const from = take(sizeof(T)); from != nullptr) [[likely]]
      std::memcpy(&value, from, sizeof(T));
    return value;
  }
  // How many elements follow, of at least `bytes_min` > 0 each; 0 if there cannot be as many.
  std::size_t read_count(std::size_t bytes_min) noexcept {
    const std::uint64_t count = load<std::uint64_t>();
    if (count > left() / bytes_min) [[unlikely]] {
      fail("a length is larger than what is left");
      return 0;
    }
    return static_cast<std::size_t>(count);
  }
  // The run of `count` elements that write_run wrote; nullptr if there is none (count == 0, or failed).
  const std::byte* take_run(std::size_t count, std::size_t element_bytes, std::size_t align) noexcept {
    if (count == 0) return nullptr;
    const std::size_t bytes = count * element_bytes;  // no overflow: read_count has checked
    const std::size_t gap = detail::padding(consumed(), detail::run_align(bytes, align));
    if (take(gap) == nullptr) [[unlikely]]
      return nullptr;
    return take(bytes);
  }
  bool enter(std::size_t cost) noexcept {
    if (nesting_ + cost > kNestingMax) [[unlikely]] {
      fail("values are nested too deeply");
      return false;
    }
    nesting_ += cost;
    return true;
  }
  void leave(std::size_t cost) noexcept { nesting_ -= cost; }

  // What the source makes of the next token; nullptr if failed.
  void* adopt_ref() {
    const RefToken token = load<RefToken>();
    if (failed()) return nullptr;
    void* const reference = refs_ == nullptr ? nullptr : refs_->adopt(token);
    if (reference == nullptr) fail("a reference inside the value is not known");
    return reference;
  }
  // Ownership of the bytes; empty if they will not live longer than the call.
  Keep keep() const { return keep_ == nullptr ? Keep() : keep_->keep(); }

 private:
  const std::byte* const begin_;
  const std::byte* cursor_;
  const std::byte* const end_;
  std::size_t nesting_ = 0;
  const char* problem_ = nullptr;
  std::size_t failed_at_ = 0;
  RefSource* const refs_;
  KeepSource* const keep_;
};

}  // namespace rayx::codec

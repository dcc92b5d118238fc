// How durable records and messages become bytes. Each lists its fields once, in a function `fields(archive, record)` that both
// the Writer and the Reader go through. Numbers are LEB128, negative ones as their two's complement; texts and lists begin with
// their length, alternatives with their place. No versions inside: the record "cluster" and the message Join tell theirs.
//
// The Reader takes any bytes: what is cut, too large for its type, no value of its enum, not sound (`is_sound(reader, record)`
// beside `fields`, where a type has more to promise) or followed by something is refused, and no list takes memory before its entries have come.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include "base/cluster_ids.hpp"

namespace rayx::registry {

// Ids are their number.
template <class Value>
inline constexpr bool kIsId =
    std::is_same_v<Value, base::NodeId> || std::is_same_v<Value, base::JobId> || std::is_same_v<Value, base::ActorId>;

class Writer {
 public:
  template <class... Values>
  void operator()(const Values&... values) {
    (put(values), ...);
  }
  std::string take() { return std::move(out_); }

 private:
  void put_number(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) out_.push_back(static_cast<char>(value | 0x80));
    out_.push_back(static_cast<char>(value));
  }
  template <class Value>
  void put(const Value& value) {
    if constexpr (std::is_integral_v<Value> || std::is_enum_v<Value>) {
      put_number(static_cast<std::uint64_t>(value));
    } else if constexpr (kIsId<Value>) {
      put_number(value.value);
    } else {
      fields(*this, value);
    }
  }
  void put(const std::string& text) {
    put_number(text.size());
    out_ += text;
  }
  template <class First, class Second>
  void put(const std::pair<First, Second>& pair) {
    put(pair.first);
    put(pair.second);
  }
  template <class Value>
  void put(const std::vector<Value>& list) {
    put_number(list.size());
    for (const Value& value : list) put(value);
  }
  template <class... Kinds>
  void put(const std::variant<Kinds...>& value) {
    put_number(value.index());
    std::visit([this](const auto& it) { this->put(it); }, value);  // clang 15 sees no other use of `this`
  }
  void put(const std::monostate&) {}

  std::string out_;
};

class Reader {
 public:
  explicit Reader(std::string_view bytes) : rest_(bytes) {}

  template <class... Values>
  void operator()(Values&... values) {
    (get(values), ...);
  }
  // Everything was there, and nothing else.
  bool is_done() const { return is_ok_ && rest_.empty(); }
  void fail() { is_ok_ = false; }

 private:
  std::uint64_t get_number() {
    std::uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) break;
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      const auto bits = static_cast<std::uint64_t>(byte & 0x7f);
      if (bits << shift >> shift != bits || (byte == 0 && shift != 0))
        break;  // more than 64 bits; not the shortest form
      value |= bits << shift;
      if ((byte & 0x80) == 0) return value;
    }
    is_ok_ = false;
    return 0;
  }
  template <class Value>
  void get(Value& value) {
    if constexpr (std::is_enum_v<Value>) {
      const std::uint64_t number = get_number();
      if (number > static_cast<std::uint64_t>(last_of(Value{}))) return fail();
      value = static_cast<Value>(number);
    } else if constexpr (std::is_integral_v<Value>) {
      const std::uint64_t number = get_number();
      value = static_cast<Value>(number);
      if (static_cast<std::uint64_t>(value) != number) fail();
    } else if constexpr (kIsId<Value>) {
      get(value.value);
    } else {
      fields(*this, value);
      if constexpr (requires { is_sound(*this, value); }) is_ok_ = is_ok_ && is_sound(*this, value);
    }
  }
  void get(std::string& text) {
    const std::uint64_t size = get_number();
    if (size > rest_.size()) return fail();
    text.assign(rest_.substr(0, size));
    rest_.remove_prefix(size);
  }
  template <class First, class Second>
  void get(std::pair<First, Second>& pair) {
    get(pair.first);
    get(pair.second);
  }
  template <class Value>
  void get(std::vector<Value>& list) {
    const std::uint64_t size = get_number();
    if (size > rest_.size()) return fail();  // each entry has a byte at least
    list.clear();
    for (std::uint64_t i = 0; i < size && is_ok_; ++i) get(list.emplace_back());
  }
  template <class... Kinds>
  void get(std::variant<Kinds...>& value) {
    const std::uint64_t place = get_number();
    if (place >= sizeof...(Kinds)) return fail();
    std::uint64_t at = 0;
    ((at++ == place ? get(value.template emplace<Kinds>()) : void()), ...);
  }
  void get(std::monostate&) {}

  std::string_view rest_;
  bool is_ok_ = true;
};

// Inside the namespace of the type, with what is written of `it`.
#define RAYX_FIELDS(Type, ...)                                 \
  template <class Archive, class Record>                       \
    requires std::is_same_v<std::remove_const_t<Record>, Type> \
  void fields(Archive& archive, [[maybe_unused]] Record& it) { \
    archive(__VA_ARGS__);                                      \
  }

template <class Record>
std::string to_bytes(const Record& record) {
  Writer writer;
  writer(record);
  return writer.take();
}
template <class Record>
std::optional<Record> from_bytes(std::string_view bytes) {
  Record record;
  Reader reader(bytes);
  reader(record);
  return reader.is_done() ? std::optional(std::move(record)) : std::nullopt;
}

}  // namespace rayx::registry

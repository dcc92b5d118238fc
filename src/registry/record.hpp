// How durable records become bytes. Each record lists its fields once, in a function `fields(archive, record)` that both the
// Writer and the Reader go through. Numbers are LEB128; texts and lists begin with their length. No versions inside: the
// format of all is told by the first byte of the record "cluster".
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

class Writer {
 public:
  static constexpr bool kReads = false;

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
    } else if constexpr (requires { value.value; }) {
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

  std::string out_;
};

class Reader {
 public:
  static constexpr bool kReads = true;

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
      value |= static_cast<std::uint64_t>(byte & 0x7f) << shift;
      if ((byte & 0x80) == 0) return value;
    }
    is_ok_ = false;
    return 0;
  }
  template <class Value>
  void get(Value& value) {
    if constexpr (std::is_integral_v<Value> || std::is_enum_v<Value>) {
      value = static_cast<Value>(get_number());
    } else if constexpr (requires { value.value; }) {
      value.value = static_cast<decltype(value.value)>(get_number());
    } else {
      fields(*this, value);
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
    list.resize(size);
    for (Value& value : list) get(value);
  }

  std::string_view rest_;
  bool is_ok_ = true;
};

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

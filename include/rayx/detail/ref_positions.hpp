// Where the references inside a value stand, told by the last bytes of its encoding, so that whoever moves the value between
// owners or nodes finds them without knowing its type. Standard library only.
//
// Bytes, behind the value's own: for each reference, how far its name begins behind the end of the one before (LEB128), and then
// how many bytes these are (uint32, little endian). Two references that stand side by side are 2 + 4 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include <rayx/detail/backend.hpp>

#pragma GCC visibility push(default)
namespace rayx::detail {

// Gathers positions in ascending order.
class RefPositions {
 public:
  bool is_empty() const noexcept { return bytes_.empty(); }
  void add(std::uint64_t position) {
    std::uint64_t gap = position - end_;
    end_ = position + sizeof(RefName);
    for (; gap >= 0x80; gap >>= 7) bytes_ += static_cast<char>(gap | 0x80);
    bytes_ += static_cast<char>(gap);
  }
  std::size_t trailer_bytes() const noexcept { return is_empty() ? 0 : bytes_.size() + sizeof(std::uint32_t); }
  void write(std::byte* to) const noexcept {
    if (is_empty()) return;
    std::memcpy(to, bytes_.data(), bytes_.size());
    const auto count = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(to + bytes_.size(), &count, sizeof(count));
  }

 private:
  std::string bytes_;  // up to 15 references take no memory of their own
  std::uint64_t end_ = 0;
};

// A value that is one reference and nothing else, as RefCodec writes it: RefName, then where it stands.
inline std::string value_of_one_ref(const RefName& name) {
  RefPositions positions;
  positions.add(0);
  std::string value(sizeof(name) + positions.trailer_bytes(), '\0');
  std::memcpy(value.data(), &name, sizeof(name));
  positions.write(reinterpret_cast<std::byte*>(value.data()) + sizeof(name));
  return value;
}

// Calls visit(position) for each reference inside a value that has some. False: the bytes are damaged; it was called for none of
// them, or for those before the damage.
template <class Visit>
bool visit_refs(std::span<const std::byte> value, Visit&& visit) {
  std::uint32_t count = 0;
  if (value.size() < sizeof(count)) return false;
  std::memcpy(&count, value.data() + value.size() - sizeof(count), sizeof(count));
  if (count > value.size() - sizeof(count)) return false;
  const std::uint64_t values_end = value.size() - sizeof(count) - count;
  const std::byte* at = value.data() + values_end;
  const std::byte* const end = at + count;
  std::uint64_t position = 0;
  while (at != end) {
    std::uint64_t gap = 0;
    for (int shift = 0;; shift += 7) {
      if (at == end || shift > 56) return false;
      const auto byte = static_cast<std::uint8_t>(*at++);
      gap |= std::uint64_t{byte & 0x7fu} << shift;
      if (byte < 0x80) break;
    }
    if (gap > values_end - position || values_end - position - gap < sizeof(RefName)) return false;
    position += gap;
    visit(position);
    position += sizeof(RefName);
  }
  return true;
}

}  // namespace rayx::detail
#pragma GCC visibility pop

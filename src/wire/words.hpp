// Numbers of the wire, which is little endian, at any place of a buffer.
#pragma once

#include <bit>
#include <cstddef>
#include <cstring>

namespace rayx::wire {

static_assert(std::endian::native == std::endian::little,
              "the wire is little endian, and so is every platform of rayx");

template <class T>
T load(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof(value));
  return value;
}
template <class T>
void store(std::byte* at, T value) {
  std::memcpy(at, &value, sizeof(value));
}

}  // namespace rayx::wire

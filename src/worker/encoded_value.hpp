// A value of the runtime's own as bytes, aligned as the codec wants them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <rayx/codec.hpp>

namespace rayx::worker {

class EncodedValue {
 public:
  template <class T>
  explicit EncodedValue(const T& value) {
    codec::SizeContext sizes;
    codec::encoded_size(value, sizes);
    size_ = sizes.size();
    words_.resize(size_ / sizeof(std::uint64_t) + 1);
    codec::Encoder encoder(reinterpret_cast<std::byte*>(words_.data()), size_);
    codec::encode(value, encoder);
  }
  std::span<const std::byte> bytes() const { return std::as_bytes(std::span(words_)).first(size_); }

 private:
  std::vector<std::uint64_t> words_;
  std::size_t size_ = 0;
};

// Of the same. The bytes may lie anywhere, and be damaged.
template <class T>
Result<T> decode_value(std::span<const std::byte> bytes) {
  std::vector<std::uint64_t> words(bytes.size() / sizeof(std::uint64_t) + 1);
  std::copy(bytes.begin(), bytes.end(), reinterpret_cast<std::byte*>(words.data()));
  codec::Decoder decoder(reinterpret_cast<const std::byte*>(words.data()), bytes.size());
  return codec::decode<T>(decoder);
}

}  // namespace rayx::worker

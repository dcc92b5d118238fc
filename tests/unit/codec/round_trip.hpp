// Encodes and decodes as the door does, and checks on the way what must hold for every value.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <new>
#include <rayx/codec.hpp>
#include <string>

namespace rayx::codec_test {

// Bytes at the alignment that large values have; exactly as many as asked for, so that ASan sees one too many.
class Buffer {
 public:
  explicit Buffer(std::size_t size, std::size_t align = 64)
      : size_(size), align_(align), data_(static_cast<std::byte*>(::operator new(size, std::align_val_t{align}))) {}
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  Buffer(Buffer&& other) noexcept
      : size_(other.size_), align_(other.align_), data_(std::exchange(other.data_, nullptr)) {}
  ~Buffer() {
    if (data_ != nullptr) ::operator delete(data_, std::align_val_t{align_});
  }
  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  std::size_t size_;
  std::size_t align_;
  std::byte* data_;
};

template <class T>
Buffer encode_alone(const T& value, codec::RefSink* refs = nullptr) {
  codec::SizeContext measure(refs);
  const std::size_t size = codec::encoded_size(value, measure);
  EXPECT_FALSE(measure.failed()) << measure.error().message;
  EXPECT_EQ(size, measure.size());
  if constexpr (codec::kFixedSize<T> != codec::kNotFixed) {
    EXPECT_EQ(size, codec::kFixedSize<T>);
  }
  Buffer buffer(size);
  codec::Encoder encoder(buffer.data(), size);
  codec::encode(value, encoder);
  EXPECT_EQ(encoder.written(), size) << "the two passes disagree";
  return buffer;
}

template <class T>
Result<T> decode_alone(const Buffer& buffer) {
  codec::Decoder decoder(buffer.data(), buffer.size());
  Result<T> result = codec::decode<T>(decoder);
  if (result) {
    EXPECT_EQ(decoder.left(), 0u);
  }
  return result;
}

template <class T>
T round_trip(const T& value) {
  const Buffer buffer = encode_alone(value);
  Result<T> result = decode_alone<T>(buffer);
  EXPECT_TRUE(result) << result.error().message;
  return std::move(result).value();
}

}  // namespace rayx::codec_test

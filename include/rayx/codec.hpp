// codec: user values to flat aligned bytes and back, in two passes and without a buffer in between. Both sides are the same build
// of the same program, so layouts agree; the bytes may still be damaged, and then decoding gives ErrorCode::kMalformed: it never
// reads out of bounds, takes memory beyond a small multiple of the bytes, or overflows the stack.
//
//   codec::SizeContext measure;
//   codec::encoded_size(value, measure);                     // pass 1; measure.failed(): the value cannot be encoded
//   codec::Encoder encoder(memory, measure.size());
//   codec::encode(value, encoder);                           // pass 2 writes exactly as much
//   codec::Decoder decoder(memory, measure.size());
//   rayx::Result<T> back = codec::decode<T>(decoder);
//
// Several values go one after another through the same three objects.
//
// Types: numbers, bool, enums, strings, the standard containers, optional, variant, tuple, pair, array, bitset, complex, durations
// and time points, filesystem::path, unique_ptr and shared_ptr (the value, not the identity), plain aggregates of up to 32 of
// these, trivially copyable classes. Any other class adds a function beside it, found by argument-dependent look-up:
//
//   template <class Archive>
//   void rayx_serialize(Archive& archive, Account& account) { archive(account.id, account.name); }
//
// It runs for all three passes, must not change the value unless Archive::kIsDecoding, and may call archive.fail("why") when what
// was decoded cannot be. The class has a default constructor, or one that takes codec::Blank. A class derived from one that has
// the function needs its own. docs/design/codec.md: the bytes, the limits.
#pragma once

#include <rayx/detail/codec_parameter.hpp>

namespace rayx::codec {

// The size of every encoding of a T, or kNotFixed.
inline constexpr std::size_t kNotFixed = detail::kNotFixed;
template <class T>
inline constexpr std::size_t kFixedSize = detail::Value<T>::kFixed;

// Adds the size of `value` (with the padding before its arrays, which depends on what came before) and returns what was added.
// A constant for types of fixed size; else looks at containers, not at their numbers. Any value but those of T's parameters.
template <class T>
std::size_t encoded_size(const T& value, SizeContext& context) {
  if constexpr (detail::require_none<problem_of_parameter<T>()>()) {
    const std::size_t before = context.size();
    detail::Value<T>::size(value, context);
    return context.size() - before;
  } else {
    return 0;
  }
}

// Writes `value` where the encoder stands. One memcpy for an array of flat elements. Move-only values are encoded from where they
// are; a value is the same afterwards. Ends the process if the value does not fit: it was changed since it was measured.
template <class T>
void encode(const T& value, Encoder& encoder) {
  if constexpr (problem_of_parameter<T>() == Problem::kNone) detail::Value<T>::write(value, encoder);
}

// The value that stands next, or why there is none. May throw std::bad_alloc, and what constructors of T throw.
template <class T>
Result<T> decode(Decoder& decoder) {
  if constexpr (detail::require_none<problem_of<T>()>()) {
    Result<T> result(detail::read_value<T>(decoder));
    if (decoder.failed()) [[unlikely]]
      return decoder.error();
    return result;
  } else {
    return Error{};
  }
}

// The same without the Result, for codecs of classes that contain a T: after a failure of the decoder some T.
template <class T>
T decode_value(Decoder& decoder) {
  return detail::read_value<T>(decoder);
}

}  // namespace rayx::codec

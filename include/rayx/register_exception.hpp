// Exceptions of the user's own types across processes.
#pragma once

#include <string>

#include <rayx/detail/remote_failure.hpp>
#include <rayx/detail/values.hpp>
#include <rayx/errors.hpp>

namespace rayx {

namespace detail {

template <class E>
struct RegisteredException {
  static constexpr bool kEncodable = codec::is_encodable_v<E>;
  static void take_apart(const std::exception_ptr& error, RemoteFailure& failure) {
    try {
      std::rethrow_exception(error);
    } catch (const E& caught) {
      if constexpr (requires { std::string(caught.what()); }) failure.message = what_text(caught.what());
      if constexpr (kEncodable) {
        codec::SizeContext sizes;
        codec::encoded_size(caught, sizes);
        if (sizes.failed()) return;  // it arrives as a TaskError
        failure.payload.resize(sizes.size());
        codec::Encoder encoder(reinterpret_cast<std::byte*>(failure.payload.data()), failure.payload.size());
        codec::encode(caught, encoder);
      }
    }
  }
  static void throw_again(RemoteFailure& failure) {
    auto shared = std::make_shared<const RemoteFailure>(std::move(failure));
    if constexpr (kEncodable) {
      const auto* const bytes = reinterpret_cast<const std::byte*>(shared->payload.data());
      codec::Decoder decoder(bytes, shared->payload.size());
      Result<E> again = codec::decode<E>(decoder);
      if (again) throw RemoteError<E>(std::move(*again), shared);
      failure = *shared;
    } else {
      throw RemoteError<E>(E(shared->message), shared);
    }
  }
  static inline ExceptionType type{&typeid(E), &take_apart, &throw_again};
};

}  // namespace detail

// Makes exceptions of exactly this type arrive as themselves: get() throws RemoteError<E>. E is constructible from its message
// (std::string), or can be encoded. Once for each type, before the first task, in namespace scope:
//   const bool registered = rayx::register_exception<MyError>();
template <class E>
bool register_exception() {
  constexpr bool kIsClass = std::is_class_v<E> && !std::is_final_v<E>;
  constexpr bool kArrives = codec::is_encodable_v<E> || std::is_constructible_v<E, std::string>;
  static_assert(kIsClass, "rayx: register_exception: a class that is not final is needed");
  static_assert(
      kArrives || !kIsClass,
      "rayx: register_exception: the class is neither constructible from a std::string nor can it be encoded");
  if constexpr (kIsClass && kArrives) {
    static const bool once = (detail::register_exception_type(detail::RegisteredException<E>::type), true);
    return once;
  } else {
    return false;
  }
}

}  // namespace rayx

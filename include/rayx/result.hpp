// Result<T>: a value, or an Error that says what happened, what was tried and what to do. Standard library only.
#pragma once

#include <cstdlib>
#include <optional>
#include <string>
#include <utility>

#include <rayx/error_code.hpp>

namespace rayx {

struct Error {
  ErrorCode code = ErrorCode::kOk;
  std::string message;
};

// What the world may do: a value or an Error. Cheap to move. Reading the side that is not there ends the program: it is a bug.
template <class T>
class [[nodiscard]] Result {
 public:
  Result(T value) : value_(std::move(value)) {}
  Result(Error error) : error_(std::move(error)) {}

  explicit operator bool() const noexcept { return value_.has_value(); }
  bool has_value() const noexcept { return value_.has_value(); }

  T& value() & { return require_value(), *value_; }
  const T& value() const& { return require_value(), *value_; }
  T&& value() && { return require_value(), std::move(*value_); }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const {
    if (has_value()) std::abort();
    return error_;
  }

 private:
  void require_value() const {
    if (!has_value()) std::abort();
  }
  // Not a variant: g++ 12 warns of members that it takes for uninitialized wherever one is moved.
  std::optional<T> value_;
  Error error_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)) {}
  explicit operator bool() const noexcept { return has_value(); }
  bool has_value() const noexcept { return error_.code == ErrorCode::kOk; }
  const Error& error() const noexcept { return error_; }

 private:
  Error error_;
};

}  // namespace rayx

// Results at the public door, where errors are exceptions.
#pragma once

#include <utility>

#include "rayx/errors.hpp"
#include "rayx/result.hpp"

namespace rayx::detail {

template <class Value>
Value value_or_throw(Result<Value> result) {
  if (!result) throw_error(std::move(result).error());
  return std::move(*result);
}

}  // namespace rayx::detail

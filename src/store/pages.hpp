// The pages of a store, where others want the same memory: who says whether new ones may come into being, and makes unused ones go.
#pragma once

#include <cstdint>

#include "shm/arena.hpp"

namespace rayx::store {

struct Extent {
  shm::Offset offset = shm::kNoOffset;
  std::uint64_t bytes = 0;
  bool operator==(const Extent&) const = default;
};

class Pages {
 public:
  virtual ~Pages() = default;
  // So many bytes that have no pages are about to get some. False: not now.
  virtual bool take(std::uint64_t bytes) = 0;
  // What could be taken.
  virtual std::uint64_t left() = 0;
  // What was taken gets none.
  virtual void give(std::uint64_t bytes) = 0;
  // Nothing lies there, and its pages go.
  virtual void drop(const Extent& extent) = 0;
};

}  // namespace rayx::store

// The codec's errors: off the fast path, so not in the header.
#include <cstdio>
#include <cstdlib>

#include <rayx/detail/codec_stream.hpp>

namespace rayx::codec::detail {

Error malformed_error(const char* problem, std::size_t offset, std::size_t size) {
  return {ErrorCode::kMalformed,
          "rayx: bytes could not be decoded: " + std::string(problem) + " (at byte " + std::to_string(offset) + " of " +
              std::to_string(size) +
              "). They were damaged, or were made by another build or as another type; trying again "
              "does not help"};
}

Error not_encodable_error(const char* problem) {
  return {ErrorCode::kInvalidArgument, "rayx: a value could not be encoded: " + std::string(problem)};
}

void encoder_overrun(std::size_t wanted, std::size_t left, std::size_t size) {
  std::fprintf(
      stderr,
      "rayx: a value grew while it was encoded: %zu bytes more are wanted, %zu of %zu are left. Was it changed by "
      "another thread, or does its rayx_serialize not do the same in both passes?\n",
      wanted, left, size);
  std::abort();
}

}  // namespace rayx::codec::detail

#include "rayx/detail/remote_failure.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace rayx::detail {
namespace {

// The text fields in their order on the wire. What matters most comes first: the rest is cut when there is no room.
constexpr std::array<std::string RemoteFailure::*, 9> kFields = {
    &RemoteFailure::message, &RemoteFailure::function,       &RemoteFailure::type_key,
    &RemoteFailure::type,    &RemoteFailure::node,           &RemoteFailure::stack,
    &RemoteFailure::payload, &RemoteFailure::passed_through, &RemoteFailure::caused_by};
constexpr std::size_t kHeadBytes = 1 + sizeof(std::uint32_t);

}  // namespace

std::string task_title(std::string_view function, std::string_view name) {
  std::string title(function);
  if (!name.empty()) title.append(" \"").append(name).append("\"");
  return title;
}

std::size_t encoded_size(const RemoteFailure& failure) noexcept {
  std::size_t size = kHeadBytes;
  for (const auto field : kFields) size += sizeof(std::uint32_t) + (failure.*field).size();
  return size;
}

void encode(const RemoteFailure& failure, std::byte* destination, std::size_t size) noexcept {
  std::size_t at = 0;
  const auto append = [&](const void* bytes, std::size_t count) {
    const std::size_t fits = std::min(count, size - at);
    if (fits > 0) std::memcpy(destination + at, bytes, fits);
    at += fits;
  };
  append(&failure.code, 1);
  append(&failure.pid, sizeof(failure.pid));
  for (const auto field : kFields) {
    const std::string& text = failure.*field;
    const auto length = static_cast<std::uint32_t>(text.size());
    append(&length, sizeof(length));
    append(text.data(), length);
  }
}

RemoteFailure decode_failure(std::span<const std::byte> bytes) {
  RemoteFailure failure;
  std::size_t at = 0;
  const auto take = [&](void* destination, std::size_t count) {
    const std::size_t there = std::min(count, bytes.size() - at);
    if (there > 0) std::memcpy(destination, bytes.data() + at, there);
    at += there;
    return there == count;
  };
  std::uint8_t code = 0;
  take(&code, 1);
  failure.code = code > 0 && code <= static_cast<std::uint8_t>(kErrorCodeLast) ? static_cast<ErrorCode>(code)
                                                                               : ErrorCode::kMalformed;
  if (!take(&failure.pid, sizeof(failure.pid))) failure.pid = 0;
  for (const auto field : kFields) {
    std::uint32_t length = 0;
    if (!take(&length, sizeof(length))) break;
    const std::size_t there = std::min<std::size_t>(length, bytes.size() - at);
    (failure.*field).assign(reinterpret_cast<const char*>(bytes.data()) + at, there);
    at += there;
  }
  if (failure.code == ErrorCode::kOwnerDied && failure.message.empty()) {
    failure.message =
        "rayx: the object is lost: the process that owned it died before the value was there. What a worker submits or "
        "puts is "
        "its own; submit it again, or do so in the driver, which lives as long as the program";
  }
  return failure;
}

}  // namespace rayx::detail

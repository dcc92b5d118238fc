// What a failed call on a file means, and what to do about it. And the loop around read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <rayx/result.hpp>

namespace rayx::bundle {

// "rayx: <tried> <path> failed: <reason>; <what to do>". `tried` like "writing the cached file".
Error file_error(const char* tried, const std::string& path, int error_number);

// As many bytes as there are from `offset` on, at most `into.size()`; fewer only at the end of the file. -1 and errno else.
std::ptrdiff_t read_at(int fd, std::uint64_t offset, std::span<std::byte> into) noexcept;

}  // namespace rayx::bundle

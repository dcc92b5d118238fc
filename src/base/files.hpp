// The loops around the system's calls on files: a folder with all that lead to it, and a write to its end.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace rayx::base {

// Makes every part of `path` that is not there, for this user alone (0700). The errno of the first that could not be made, and that part
// in `failed`; 0: all are there, or what is there is no folder, as whoever opens it sees.
int make_folders(const std::string& path, std::string* failed = nullptr);

// All of them, or false and errno.
bool write_all(int fd, std::span<const std::byte> bytes) noexcept;

}  // namespace rayx::base

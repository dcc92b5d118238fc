// Folders with all that lead to them.
#pragma once

#include <string>

namespace rayx::base {

// Makes every part of `path` that is not there, for this user alone (0700). The errno of the first that could not be made, and that part
// in `failed`; 0: all are there, or what is there is no folder, as whoever opens it sees.
int make_folders(const std::string& path, std::string* failed = nullptr);

}  // namespace rayx::base

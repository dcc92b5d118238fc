// A file with a secret in it: read only where nobody else can read or replace it.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "rayx/result.hpp"

namespace rayx::wire {

// At most `place.size()` bytes from the beginning of the file; how many. Refuses a file that others may read or write, or that belongs to
// somebody else than us or root. `what` is how messages name it: "the token's file /etc/rayx/token". The caller wipes `place`.
Result<std::size_t> read_secret_file(const std::string& path, const std::string& what, std::span<char> place);

}  // namespace rayx::wire

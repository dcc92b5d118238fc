#define FMT_HEADER_ONLY  // librayx needs no second library, and this is the only file with the code of this one
#include "base/format.hpp"

#include <fmt/format.h>

namespace rayx::base {

std::string format_all(fmt::string_view pattern, fmt::format_args values) { return fmt::vformat(pattern, values); }

}  // namespace rayx::base

// How much this program has allocated and not freed. Its operator new and delete count it.
#pragma once

#include <cstddef>

namespace rayx::sim {

std::size_t heap_bytes();

}  // namespace rayx::sim

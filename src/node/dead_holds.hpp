// What a dead process held for objects of its own, as long as others use those.
//
// All that it owned shares its memory, which stays until nobody uses any of it (`shm::Control::is_used_by_others`). If its holds
// stayed as long, the two could keep each other for ever: it held a value of the driver's, and that value names an object of its own.
// But a hold of the dead protects only what an object of theirs names that somebody can still read; all others go.
#pragma once

#include <cstdint>

#include "shm/control.hpp"

namespace rayx::node {

// Node's thread, of a buried process that owned: lets go of what it holds and no value of its own that others can reach names. Nothing
// goes while a task of its own may run, as the dead holds what that needs. Cost: a look through the holds of all processes, and at the
// values of its own that they hold.
void release_needless_holds(const shm::Control& control, std::uint32_t dead);

}  // namespace rayx::node

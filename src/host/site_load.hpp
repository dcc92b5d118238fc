// What a job does on a node and what of it waits, read from the arena that its processes share.
#pragma once

#include <chrono>

#include "registry/messages.hpp"
#include "shm/arena.hpp"

namespace rayx::host {

inline constexpr std::chrono::milliseconds kLoadPause{500};  // a heartbeat takes what was said last

// Adds what workers use now, without actors and without what waiting ones have lent; and tasks that nobody has taken, by their CPUs. Walks
// the queues that are in use: 30 us for one. A queue's overflow in its submitter's memory does not count. Any thread.
void add_used(const shm::Arena& arena, registry::Load& load);
void add_queued(const shm::Arena& arena, base::JobId job, registry::Load& load);

}  // namespace rayx::host

// What a program can know of the nodes that do its work.
#pragma once

#include <vector>

#include <rayx/node_info.hpp>
#include <rayx/objects.hpp>

#pragma GCC visibility push(default)
namespace rayx {

namespace detail {
RefCell* ask_for_nodes();  // the answer is a std::vector<NodeInfo>
}

// The nodes that are alive and not drained, sorted by id, as this process's node last heard of them: what has joined or gone is known within
// a second. A program that runs alone has one. Some 50 us. Any thread, also inside a task.
inline std::vector<NodeInfo> nodes() {
  return get(detail::RefAccess::adopt<ObjectRef<std::vector<NodeInfo>>>(detail::ask_for_nodes()));
}

}  // namespace rayx
#pragma GCC visibility pop

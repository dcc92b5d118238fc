// Whether this thread runs a task right now.
#pragma once

namespace rayx::detail {

inline thread_local int t_task_depth = 0;

class InsideTask {
 public:
  InsideTask() noexcept { ++t_task_depth; }
  ~InsideTask() { --t_task_depth; }
  InsideTask(const InsideTask&) = delete;
  InsideTask& operator=(const InsideTask&) = delete;
};

}  // namespace rayx::detail

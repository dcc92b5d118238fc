// A named place between two shared writes where a test may end the process, as `kill -9` would. Nothing in normal builds.
#pragma once

#ifdef RAYX_KILL_POINTS
namespace rayx::base {
// Set by the test kit; called with the name of each kill point that is passed. Never null.
extern void (*on_kill_point)(const char* name);
}  // namespace rayx::base
#define RAYX_KILL_POINT(name) ::rayx::base::on_kill_point(name)
#else
#define RAYX_KILL_POINT(name) \
  do {                        \
  } while (false)
#endif

// RAYX_PLANTED_BUG(n): false in normal builds. In the simulator's own build of the deciders it is true while bug n is switched on,
// so that a test can show that the simulator would find it.
#pragma once

#ifdef RAYX_PLANT_BUGS
namespace rayx::base {
inline int g_planted_bug = 0;
}  // namespace rayx::base
#define RAYX_PLANTED_BUG(n) (::rayx::base::g_planted_bug == (n))
#else
#define RAYX_PLANTED_BUG(n) false
#endif

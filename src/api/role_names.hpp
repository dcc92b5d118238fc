// Names that processes of a cluster know of each other, and that no user sets.
#pragma once

namespace rayx::detail {

// Values of process::kRoleVariable.
inline constexpr const char* kNodeRole = "node";
inline constexpr const char* kKeeperRole = "keeper";

// Set by Spark's launcher: what it has reserved for the node.
inline constexpr const char* kReservedCoresVariable = "RAYX_LAUNCHER_CORES";
inline constexpr const char* kReservedMemoryVariable = "RAYX_LAUNCHER_MEMORY_MIB";
// Set by Spark's operator: where the launcher keeps programs.
inline constexpr const char* kLauncherCacheVariable = "RAYX_LAUNCHER_CACHE";

}  // namespace rayx::detail

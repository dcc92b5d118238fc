// The launcher: a few classes of Java, in a jar that is a part of this library, which Spark runs on a worker for each node. It fetches
// the program from a ProgramServer, checks it, starts it, and ends with it. docs/design/spark.md says what it does step by step.
#pragma once

#include <cstddef>
#include <span>

namespace rayx::spark {

inline constexpr const char* kLauncherClass = "rayx.Launcher";        // the submission's mainClass
inline constexpr const char* kLauncherJarName = "rayx-launcher.jar";  // last part of the submission's appResource

// Variables of the submission, which ProgramServer::admit makes. Not in the environment of the program that is started.
inline constexpr const char* kLauncherServerVariable =
    "RAYX_LAUNCHER_SERVER";  // where the program server is, "host:port"
inline constexpr const char* kLauncherTokenVariable = "RAYX_LAUNCHER_TOKEN";  // 64 hex digits, for one start
// For operators, in the environment of Spark's workers or of the submission: the folder that keeps programs on the host, when the
// default (rayx-<uid> below java.io.tmpdir) is too small or mounted noexec.
inline constexpr const char* kLauncherCacheVariable = "RAYX_LAUNCHER_CACHE";

// Variables of the program that is started, besides those that NodeLaunch::environment gives it (which win).
//   RAYX_LAUNCHER_PIPE=stdin        its standard input is a pipe that ends when the launcher does, however that ends: the program must end
//                                   then. First come the bytes of NodeLaunch::input.
//   RAYX_LAUNCHER_CORES=4, RAYX_LAUNCHER_MEMORY_MIB=8192   its reservation
//   CUDA_VISIBLE_DEVICES=0,2        the GPUs of its reservation; empty: none were reserved
//   RAYX_INTERNAL_LIBRARY_PATH, LD_LIBRARY_PATH            where its libraries are: process::take_library_path(), before anything
//                                   else is started, takes both away again
// SIGTERM: end within kLauncherStopPatienceMs, else SIGKILL follows. (Spark itself kills the launcher 10 s after a kill request.)
inline constexpr const char* kLauncherPipeVariable = "RAYX_LAUNCHER_PIPE";
inline constexpr const char* kLauncherPipeStdin = "stdin";
inline constexpr const char* kLauncherCoresVariable = "RAYX_LAUNCHER_CORES";
inline constexpr const char* kLauncherMemoryVariable = "RAYX_LAUNCHER_MEMORY_MIB";
inline constexpr int kLauncherStopPatienceMs = 8'000;

// The launcher's exit codes of its own; else it exits with the program's code, or 128 and the signal's number. Chosen where programs
// rarely have theirs.
inline constexpr int kLauncherExitRefused =
    120;  // the program server turned it away: another submission has used the token
inline constexpr int kLauncherExitUnreachable = 121;  // no answer of the program server
inline constexpr int kLauncherExitUnfit =
    122;  // this host cannot run the program: full disk, noexec, C library, no GPU given
inline constexpr int kLauncherExitDamaged = 123;   // what was fetched is not what was announced
inline constexpr int kLauncherExitInternal = 124;  // anything else, with Java's stack in stderr

// The bytes of the jar.
std::span<const std::byte> launcher_jar();

}  // namespace rayx::spark

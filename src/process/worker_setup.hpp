// The hygiene of a new worker, between fork (or exec) and its entry.
#pragma once

#include <csignal>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace rayx::process {

// Descriptors that are open now, sorted, without the one that reads the directory.
std::vector<int> open_descriptors();
// Closes every descriptor above 2 that is not in `keep` (sorted).
void close_all_but(std::span<const int> keep);

// Opens /dev/null where one of the descriptors 0 to 2 is closed, so that none of ours gets its number: the next line that the
// program writes to stdout would go there. For a driver that was started with `>&-`, or as a daemon.
void hold_standard_descriptors();

void set_process_name(const char* name);  // at most 15 bytes, as `ps -o comm` and `top` show it
void raise_oom_score(int add);            // so that the kernel's OOM killer takes a worker and not the driver

// "A=1\0B=2\0": set in this process.
void apply_environment(std::string_view entries);
// OMP_NUM_THREADS for this process and everything it starts, unless the user has set it. libgomp read the variable when it was
// loaded, before the fork, so it is told by its own function as well, which counts for the calling thread.
void apply_omp_threads(int threads);
// rand(), random(), drand48(): their state was copied by the fork.
void reseed_generators();

// Flushes C and C++ streams and ends the process without static destructors: their objects belong to a fork server's memory
// image that other workers share, and user destructors in a worker would run as often as there are workers.
[[noreturn]] void finish_worker(int exit_code);

void flush_streams();

}  // namespace rayx::process

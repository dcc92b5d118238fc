// The bundle of the program that runs in this process.
#pragma once

#include <span>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "base/unique_fd.hpp"
#include "bundle/file_digests.hpp"
#include "bundle/manifest.hpp"

namespace rayx::bundle {

struct RunningProgram {
  Manifest manifest;
  std::vector<std::string> sources;  // for each file of the manifest: where to read it now

  // For those who ask for it, in pieces of their size with file_error.hpp's read_at.
  Result<base::UniqueFd> open(std::size_t file) const;
};

// All that is loaded now, also by dlopen. Reads and hashes each file once for each `digests`: 30 MB take about 20 ms on a CPU with
// SHA instructions, so this is called when a cluster is joined and not before. Any thread; waits for a dlopen that runs.
// An error if a file was replaced since it was loaded, or cannot be read.
Result<RunningProgram> describe_running_program(FileDigests& digests);

}  // namespace rayx::bundle

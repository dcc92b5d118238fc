// Addresses of a stack, made independent of the process they were taken in: a module's path and an offset in its file. The
// driver runs the same files at other addresses, and turns them into text.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rayx::observe {

struct Frame {
  std::string module;  // path as in /proc/<pid>/maps; empty if the address lies in no file
  std::uint64_t file_offset = 0;
  std::uint64_t address = 0;      // in the process it was taken in
  bool is_return_address = true;  // false: the very instruction (the top frame of a crash)
};

inline constexpr std::size_t kShownFramesMax = 20;

// Looks up addresses of this process. Allocates, reads /proc/self/maps: for exceptions, not for signal handlers.
std::vector<Frame> locate(std::span<void* const> return_addresses);

// One line for each frame, to send along with an error. decode accepts anything and keeps the lines that make sense.
std::string encode_frames(std::span<const Frame> frames);
std::vector<Frame> decode_frames(std::string_view text);

// Numbered lines " 1. function at file:line", innermost first. Ours and the C library's around the user's functions are left
// out, at most kShownFramesMax are shown. Reads debug information: 10 to 100 ms for the first call in a process, and memory that
// is kept; any thread. Without debug information it says `function (module+0xoffset)`.
std::string symbolise(std::span<const Frame> frames);

}  // namespace rayx::observe

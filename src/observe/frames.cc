#include "observe/frames.hpp"

#include <charconv>
#include <fstream>

#include "base/format.hpp"
#include "observe/module_map.hpp"

namespace rayx::observe {

std::vector<Frame> locate(std::span<void* const> return_addresses) {
  std::vector<Frame> frames;
  for (void* address : return_addresses) {
    frames.push_back({.module = {}, .file_offset = 0, .address = reinterpret_cast<std::uint64_t>(address)});
  }
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    MapLine map;
    if (!parse_map_line(line, map) || map.path.empty()) continue;
    for (Frame& frame : frames) {
      if (frame.address < map.begin || frame.address >= map.end) continue;
      frame.module = map.path;
      frame.file_offset = frame.address - map.begin + map.file_offset;
    }
  }
  return frames;
}

std::string encode_frames(std::span<const Frame> frames) {
  std::string text;
  for (const Frame& frame : frames) {
    text += base::format("{:x} {:x} {} {}\n", frame.address, frame.file_offset, frame.is_return_address ? 'r' : 'i',
                         frame.module);
  }
  return text;
}

std::vector<Frame> decode_frames(std::string_view text) {
  std::vector<Frame> frames;
  while (!text.empty() && frames.size() < 256) {
    const std::size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    Frame frame;
    const char* last = line.data() + line.size();
    const auto [after_address, bad_address] = std::from_chars(line.data(), last, frame.address, 16);
    if (bad_address != std::errc() || after_address == last || *after_address != ' ') continue;
    const auto [after_offset, bad_offset] = std::from_chars(after_address + 1, last, frame.file_offset, 16);
    if (bad_offset != std::errc() || last - after_offset < 3 || after_offset[0] != ' ' || after_offset[2] != ' ')
      continue;
    frame.is_return_address = after_offset[1] == 'r';
    frame.module.assign(after_offset + 3, last);
    frames.push_back(std::move(frame));
  }
  return frames;
}

}  // namespace rayx::observe

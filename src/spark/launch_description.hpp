// What a launcher is told of the program that it is to start, as bytes that Java reads (DataInputStream), and how they are protected.
// rayx/Launcher.java is the other end.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bundle/elf_file.hpp"
#include "bundle/running_program.hpp"
#include "rayx/result.hpp"
#include "spark/program_server.hpp"

namespace rayx::spark {

// The words that change when a file of the program is laid out. Read once for all launches.
struct FileFixes {
  std::vector<bundle::ElfFile::Word> words;
  std::uint64_t interpreter_header = 0;
};
Result<std::vector<FileFixes>> fixes_of(const bundle::RunningProgram& program);

std::string describe(const bundle::Manifest& manifest, std::span<const FileFixes> fixes, const NodeLaunch& launch);

// AES-256-GCM: 12 bytes that are never used twice with a key, then the text, then the tag of 16 bytes.
std::string seal(std::string_view text, std::span<const std::byte> key);

}  // namespace rayx::spark

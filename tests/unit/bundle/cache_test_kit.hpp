// What the tests of the cache share: a folder of their own, and the running test as the program that is cached.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "bundle/cache.hpp"
#include "bundle/file_error.hpp"
#include "bundle/running_program.hpp"

namespace rayx::bundle::test {

class Folder {
 public:
  Folder() {
    std::string name = ::testing::TempDir() + "rayx-bundle-XXXXXX";
    if (::mkdtemp(name.data()) != nullptr) path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

inline std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code none;  // a folder that is not there has no names
  for (const auto& entry : std::filesystem::directory_iterator(folder, none)) names.push_back(entry.path().filename());
  return names;
}

// This test itself, as a driver would describe it.
inline const RunningProgram& own_program() {
  static FileDigests digests;
  static const Result<RunningProgram> program = describe_running_program(digests);
  EXPECT_TRUE(program) << program.error().message;
  return *program;
}

// Sends one file as the network would: in pieces.
inline Result<void> send(Staging& staging, const RunningProgram& from, std::size_t file,
                         std::size_t piece_bytes = 100'000) {
  const Result<base::UniqueFd> source = from.open(file);
  if (!source) return source.error();
  Result<FileWriter> writer = staging.write(file);
  if (!writer) return writer.error();
  std::vector<std::byte> piece(piece_bytes);
  for (std::uint64_t at = 0;; at += piece.size()) {
    const std::ptrdiff_t bytes = read_at(source->get(), at, piece);
    if (bytes < 0) return file_error("reading", from.sources[file], errno);
    if (bytes == 0) return writer->finish();
    if (Result<void> added = writer->append({piece.data(), static_cast<std::size_t>(bytes)}); !added) return added;
  }
}

inline Result<Layout> fetch_and_lay_out(Cache& cache, const RunningProgram& program,
                                        std::size_t piece_bytes = 100'000) {
  Result<Staging> staging = cache.stage(program.manifest);
  if (!staging) return staging.error();
  for (const std::size_t file : staging->missing())
    if (Result<void> sent = send(*staging, program, file, piece_bytes); !sent) return sent.error();
  return std::move(*staging).lay_out();
}

inline std::uint64_t bytes_of(const Manifest& manifest) {
  std::uint64_t total = 0;
  for (const File& file : manifest.files) total += file.bytes;
  return total;
}

}  // namespace rayx::bundle::test

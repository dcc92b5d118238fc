// Pairs of bytes that survive a kill of the process and of the machine: one SQLite database in a folder, in WAL mode. The only
// room that names SQLite. Everything blocks for as long as the disk takes (a commit: one fsync, 0.1 to 10 ms).
//
// One process at a time: the file is locked as long as it is open, and the kernel lets go of the lock when the process dies, which
// takes some milliseconds after a kill.
#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <rayx/result.hpp>

struct sqlite3;
struct sqlite3_stmt;

namespace rayx::disk {

inline constexpr int kPatience_ms = 2'000;

struct Change {
  std::string key;
  std::optional<std::string> value;  // nothing: it is erased
};

class PairFile {
 public:
  // Makes the folder and the file where they are missing, both readable by this user only. kInvalidConfig: another process has it
  // open, and goes on having it for kPatience_ms; or what lies there was not made by this; kSystemError: the disk's or the system's refusal.
  static Result<PairFile> open(const std::string& folder);
  PairFile(PairFile&& other) noexcept;
  PairFile& operator=(PairFile&&) = delete;
  ~PairFile();

  // In order of their keys.
  Result<std::vector<std::pair<std::string, std::string>>> read_all();
  // All of it or nothing, in order; durable when it returns. After an error nothing has changed, and it may be tried again.
  Result<void> commit(std::span<const Change> changes);
  const std::string& path() const { return path_; }

 private:
  PairFile(std::string path, sqlite3* database) : path_(std::move(path)), database_(database) {}
  Result<void> run(const char* sql);
  Result<void> prepare();
  Result<void> apply(const Change& change);
  Error failure(const char* what) const;

  std::string path_;
  sqlite3* database_ = nullptr;
  sqlite3_stmt* put_ = nullptr;
  sqlite3_stmt* erase_ = nullptr;
};

}  // namespace rayx::disk

#include "disk/pair_file.hpp"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/files.hpp"

namespace rayx::disk {
namespace {

// Of the file's header: it is ours, and this is its layout.
constexpr int kApplicationId = 0x72617978;  // "rayx"
constexpr int kLayout = 1;

int bind(sqlite3_stmt* statement, int place, const std::string& bytes) {
  return sqlite3_bind_blob64(statement, place, bytes.data(), bytes.size(), SQLITE_STATIC);
}

}  // namespace

PairFile::PairFile(PairFile&& other) noexcept
    : path_(std::move(other.path_)),
      database_(std::exchange(other.database_, nullptr)),
      put_(std::exchange(other.put_, nullptr)),
      erase_(std::exchange(other.erase_, nullptr)) {}

PairFile::~PairFile() {
  sqlite3_finalize(put_);
  sqlite3_finalize(erase_);
  sqlite3_close(database_);
}

Error PairFile::failure(const char* what) const {
  const int code = sqlite3_extended_errcode(database_);
  const std::string about = std::string(what) + " " + path_;
  if ((code & 0xff) == SQLITE_BUSY || (code & 0xff) == SQLITE_LOCKED)
    return {ErrorCode::kInvalidConfig, "rayx: " + about + ": another process has it open, and had it for " +
                                           std::to_string(kPatience_ms / 1000) +
                                           " s. One head at a time may use a folder: end the other one, or name "
                                           "another folder for another cluster"};
  if ((code & 0xff) == SQLITE_NOTADB || (code & 0xff) == SQLITE_CORRUPT)
    return {ErrorCode::kInvalidConfig, "rayx: " + about + ": the file is damaged, or is no file of rayx (" +
                                           sqlite3_errmsg(database_) +
                                           "). Restore it, or name an empty folder for a new cluster"};
  if ((code & 0xff) == SQLITE_FULL)
    return {ErrorCode::kSystemError, "rayx: " + about + ": the disk is full. Make room on it"};
  return {ErrorCode::kSystemError, "rayx: " + about + ": " + sqlite3_errmsg(database_)};
}

Result<void> PairFile::run(const char* sql) {
  if (sqlite3_exec(database_, sql, nullptr, nullptr, nullptr) == SQLITE_OK) return {};
  return failure("using");
}

Result<PairFile> PairFile::open(const std::string& folder) {
  if (folder.empty()) return Error{ErrorCode::kInvalidConfig, "rayx: the folder for the head's state has no name"};
  std::string part;
  if (const int error = base::make_folders(folder, &part); error != 0)
    return Error{ErrorCode::kSystemError, "rayx: the folder " + part + " cannot be made (" + std::strerror(error) +
                                              "). Name one that this user may write"};
  const std::string path = folder + "/head.sqlite";
  // Made here, so that nobody else may read it; SQLite gives its log the mode of the file. Closed before SQLite opens it: to close
  // any descriptor of a file drops the process's locks on it (fcntl(2)).
  if (const int made_file = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600); made_file < 0) {
    return Error{ErrorCode::kSystemError, "rayx: the file " + path + " cannot be opened (" + std::strerror(errno) +
                                              "). Name a folder that this user may write"};
  } else {
    ::close(made_file);
  }
  sqlite3* database = nullptr;
  const int opened = sqlite3_open_v2(path.c_str(), &database,
                                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, nullptr);
  if (opened == SQLITE_OK) sqlite3_busy_timeout(database, kPatience_ms);
  PairFile file(path, database);
  Result<void> ready = opened == SQLITE_OK ? file.prepare() : Result<void>(file.failure("opening"));
  if (!ready) return std::move(ready).error();
  return file;
}

Result<void> PairFile::prepare() {
  // Exclusive before anything else: the lock is taken at the first read and kept, and WAL then needs no shared memory.
  for (const char* const sql :
       {"PRAGMA locking_mode=EXCLUSIVE", "PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "BEGIN EXCLUSIVE"}) {
    Result<void> done = run(sql);
    if (!done) return done;
  }
  const auto number = [this](const char* sql) {
    sqlite3_stmt* statement = nullptr;
    int value = -1;
    if (sqlite3_prepare_v2(database_, sql, -1, &statement, nullptr) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
      value = sqlite3_column_int(statement, 0);
    sqlite3_finalize(statement);
    return value;
  };
  const int application = number("PRAGMA application_id");
  const int layout = number("PRAGMA user_version");
  const bool is_new = application == 0 && layout == 0 && number("SELECT count(*) FROM sqlite_schema") == 0;
  if (!is_new && (application != kApplicationId || layout != kLayout))
    return Error{ErrorCode::kInvalidConfig,
                 "rayx: " + path_ + " was not written by this version of rayx (it says " + std::to_string(application) +
                     ", " + std::to_string(layout) +
                     "). Start the head with the version that wrote it, or with an empty folder"};
  if (is_new) {
    const std::string mark = "PRAGMA application_id=" + std::to_string(kApplicationId) +
                             "; PRAGMA user_version=" + std::to_string(kLayout) +
                             "; CREATE TABLE pairs (key BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID";
    Result<void> marked = run(mark.c_str());
    if (!marked) return marked;
  }
  Result<void> committed = run("COMMIT");
  if (!committed) return committed;
  if (sqlite3_prepare_v3(database_, "INSERT OR REPLACE INTO pairs VALUES (?1, ?2)", -1, SQLITE_PREPARE_PERSISTENT,
                         &put_, nullptr) != SQLITE_OK ||
      sqlite3_prepare_v3(database_, "DELETE FROM pairs WHERE key = ?1", -1, SQLITE_PREPARE_PERSISTENT, &erase_,
                         nullptr) != SQLITE_OK)
    return failure("using");
  return {};
}

Result<std::vector<std::pair<std::string, std::string>>> PairFile::read_all() {
  sqlite3_stmt* statement = nullptr;
  if (sqlite3_prepare_v2(database_, "SELECT key, value FROM pairs ORDER BY key", -1, &statement, nullptr) != SQLITE_OK)
    return failure("reading");
  std::vector<std::pair<std::string, std::string>> pairs;
  const auto text = [statement](int column) {
    const void* const bytes = sqlite3_column_blob(statement, column);
    return bytes == nullptr ? std::string()
                            : std::string(static_cast<const char*>(bytes),
                                          static_cast<std::size_t>(sqlite3_column_bytes(statement, column)));
  };
  int step = SQLITE_OK;
  while ((step = sqlite3_step(statement)) == SQLITE_ROW) pairs.emplace_back(text(0), text(1));
  std::optional<Error> error;
  if (step != SQLITE_DONE) error = failure("reading");
  sqlite3_finalize(statement);
  if (error) return std::move(*error);
  return pairs;
}

Result<void> PairFile::apply(const Change& change) {
  sqlite3_stmt* const statement = change.value ? put_ : erase_;
  int code = bind(statement, 1, change.key);
  if (code == SQLITE_OK && change.value) code = bind(statement, 2, *change.value);
  if (code == SQLITE_OK) code = sqlite3_step(statement);
  Result<void> outcome;
  if (code != SQLITE_DONE) outcome = failure("writing");
  sqlite3_reset(statement);
  sqlite3_clear_bindings(statement);
  return outcome;
}

Result<void> PairFile::commit(std::span<const Change> changes) {
  Result<void> outcome = run("BEGIN");
  for (std::size_t i = 0; i < changes.size() && outcome; ++i) outcome = apply(changes[i]);
  if (outcome) outcome = run("COMMIT");
  if (!outcome && sqlite3_get_autocommit(database_) == 0)
    sqlite3_exec(database_, "ROLLBACK", nullptr, nullptr, nullptr);
  return outcome;
}

}  // namespace rayx::disk

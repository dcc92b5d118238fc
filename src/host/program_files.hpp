// The files of a program, from a node that has them to one that begins a site of its detached actors when no driver sends them. Loop's
// thread.
//
//   asker                               node
//   hello kFilesHello
//   the digests, one after the other ->
//                                    <- payload of each file, its place in the list is the stream; or the link is closed
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "base/unique_fd.hpp"
#include "bundle/cache.hpp"
#include "host/job.hpp"
#include "wire/link.hpp"

namespace rayx::host {

inline constexpr const char* kFilesHello = "rayx files 1";

// A file of a program over a link, from `offset` on, which follows what was sent.
enum class FileSent : std::uint8_t {
  kWhole,
  kInPart,      // the link is full: again after on_writable; or it is closed
  kUnreadable,  // errno
};
FileSent send_file(wire::Link& link, std::uint64_t stream, int file, std::uint64_t bytes, std::uint64_t& offset);

// Gives all that is asked for, or nothing.
class FilesServer final : public wire::LinkHandler, public std::enable_shared_from_this<FilesServer> {
 public:
  // `ended`: the link is closed; not from within a call, and not after end().
  FilesServer(wire::Loop& loop, const bundle::Cache& cache, std::unique_ptr<wire::Link> link,
              std::function<void(FilesServer*)> ended)
      : loop_(loop), cache_(cache), link_(std::move(link)), ended_(std::move(ended)) {}
  void open() { link_->open(*this); }
  void end() {
    ended_ = nullptr;
    link_.reset();
  }

 private:
  void on_control(std::span<const std::byte> bytes) override;
  std::span<std::byte> on_payload(const wire::PayloadChunk&) override { return {}; }
  void on_payload_end(const wire::PayloadChunk&) override {}
  void on_writable() override { send(); }
  void on_closed(const wire::CloseReason&) override;
  void send();

  wire::Loop& loop_;
  const bundle::Cache& cache_;
  std::unique_ptr<wire::Link> link_;
  std::function<void(FilesServer*)> ended_;
  std::vector<base::UniqueFd> files_;
  std::vector<std::uint64_t> sizes_;
  bool is_asked_ = false;
  std::size_t next_ = 0;
  std::uint64_t offset_ = 0;
};

// Brings what is missing of a job's program into its staging.
class FilesFetch final : public wire::LinkHandler, public std::enable_shared_from_this<FilesFetch> {
 public:
  // `done`: once, not from within begin, and not after end(): everything is there, or the other node does not have it.
  FilesFetch(wire::Loop& loop, std::shared_ptr<Job> job, Missing missing, std::function<void(Result<void>)> done)
      : loop_(loop), job_(std::move(job)), missing_(std::move(missing)), done_(std::move(done)) {}
  void begin(const wire::Endpoint& node, wire::LinkConfig config);
  void end();

 private:
  void on_control(std::span<const std::byte>) override {}
  std::span<std::byte> on_payload(const wire::PayloadChunk& chunk) override;
  void on_payload_end(const wire::PayloadChunk& chunk) override;
  void on_closed(const wire::CloseReason& reason) override { tell(Error{ErrorCode::kSystemError, reason.message}); }
  void tell(Result<void> outcome);

  wire::Loop& loop_;
  const std::shared_ptr<Job> job_;
  const Missing missing_;
  std::function<void(Result<void>)> done_;
  std::unique_ptr<wire::Connector> connector_;
  std::unique_ptr<wire::Link> link_;
  std::vector<std::byte> chunk_;
  std::uint64_t received_ = 0;
  int chunks_on_their_way_ = 0;
};

}  // namespace rayx::host

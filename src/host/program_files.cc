#include "host/program_files.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "bundle/file_error.hpp"
#include "bundle/manifest.hpp"

namespace rayx::host {

FileSent send_file(wire::Link& link, std::uint64_t stream, int file, std::uint64_t bytes, std::uint64_t& offset) {
  while (offset < bytes) {
    const auto run =
        std::make_shared<std::vector<std::byte>>(std::min<std::uint64_t>(bytes - offset, wire::kPayloadBytesMax));
    if (bundle::read_at(file, offset, *run) != static_cast<std::ptrdiff_t>(run->size())) return FileSent::kUnreadable;
    const wire::Sent sent = link.send_payload(stream, offset, *run, {}, run);
    if (sent == wire::Sent::kClosed || sent == wire::Sent::kRefused) return FileSent::kInPart;
    offset += run->size();
    if (sent == wire::Sent::kPause) return FileSent::kInPart;
  }
  return FileSent::kWhole;
}

void FilesServer::on_control(std::span<const std::byte> bytes) {
  constexpr std::size_t kDigest = sizeof(bundle::Digest);
  if (std::exchange(is_asked_, true) || bytes.size() % kDigest != 0 || bytes.size() / kDigest > bundle::kFilesMax)
    return link_->close("rayx: a list of files cannot be read");
  for (std::size_t at = 0; at < bytes.size(); at += kDigest) {
    bundle::Digest digest;
    std::memcpy(digest.data(), bytes.data() + at, kDigest);
    Result<base::UniqueFd> file = cache_.open_file(digest);
    struct stat status {};
    if (!file || ::fstat(file->get(), &status) != 0) return link_->close("this node does not have the program");
    files_.push_back(std::move(*file));
    sizes_.push_back(static_cast<std::uint64_t>(status.st_size));
  }
  send();
}

void FilesServer::send() {
  for (; next_ < files_.size(); ++next_, offset_ = 0) {
    switch (send_file(*link_, next_, files_[next_].get(), sizes_[next_], offset_)) {
      case FileSent::kWhole: continue;
      case FileSent::kInPart: return;
      case FileSent::kUnreadable: return link_->close("a file of the program cannot be read on this node");
    }
  }
}

void FilesServer::on_closed(const wire::CloseReason&) {
  loop_.post([self = shared_from_this()] {
    if (self->ended_) self->ended_(self.get());
  });
}

void FilesFetch::begin(const wire::Endpoint& node, wire::LinkConfig config) {
  config.set_hello(kFilesHello);
  connector_ = std::make_unique<wire::Connector>(loop_, node, config,
                                                 [self = shared_from_this()](Result<std::unique_ptr<wire::Link>> made) {
                                                   if (!made) return self->tell(made.error());
                                                   self->link_ = std::move(*made);
                                                   self->link_->open(*self);
                                                   std::vector<std::byte> digests;
                                                   for (const bundle::Digest& digest : self->missing_.digests) {
                                                     const auto bytes = std::as_bytes(std::span(digest));
                                                     digests.insert(digests.end(), bytes.begin(), bytes.end());
                                                   }
                                                   self->link_->send(digests);
                                                 });
}

std::span<std::byte> FilesFetch::on_payload(const wire::PayloadChunk& chunk) {
  if (chunk.stream >= missing_.files.size() || received_ + chunk.bytes > missing_.bytes) return {};
  chunk_.resize(chunk.bytes);
  return chunk_;
}

void FilesFetch::on_payload_end(const wire::PayloadChunk& chunk) {
  if (chunk_.size() != chunk.bytes) return;
  received_ += chunk.bytes;
  if (++chunks_on_their_way_ >= Job::kRunsWaitingMax) link_->pause_reading();
  job_->append(missing_.files[chunk.stream], std::exchange(chunk_, {}), [self = shared_from_this()] {
    --self->chunks_on_their_way_;
    if (self->received_ == self->missing_.bytes && self->chunks_on_their_way_ == 0) return self->tell({});
    if (self->link_ != nullptr) self->link_->resume_reading();
  });
}

void FilesFetch::tell(Result<void> outcome) {
  if (!done_) return;
  loop_.post([self = shared_from_this(), done = std::exchange(done_, nullptr), outcome = std::move(outcome)] {
    self->end();
    done(outcome);
  });
}

void FilesFetch::end() {
  done_ = nullptr;
  connector_.reset();
  link_.reset();
}

}  // namespace rayx::host

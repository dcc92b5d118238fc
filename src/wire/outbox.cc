#include "wire/outbox.hpp"

#include <algorithm>
#include <cstring>

#include "base/check.hpp"

namespace rayx::wire {
namespace {

constexpr std::byte kZeros[8] = {};

// Appends [data, data + bytes) without its first `skip` bytes; `skip` becomes what is still to be skipped.
void append(iovec* parts, std::size_t& count, const std::byte* data, std::size_t bytes, std::size_t& skip) {
  const std::size_t skipped = std::min(skip, bytes);
  skip -= skipped;
  if (skipped < bytes) parts[count++] = {const_cast<std::byte*>(data + skipped), bytes - skipped};
}

}  // namespace

void Outbox::add_frame(FrameKind kind, std::span<const std::byte> bytes) {
  const std::size_t total = kFrameHeaderBytes + bytes.size() + padding_after(bytes.size());
  if (blocks_.empty() || blocks_.back().capacity - blocks_.back().end < total) {
    if (total <= kBlockBytes && spare_.data) {
      blocks_.push_back(std::move(spare_));
    } else {
      const std::size_t capacity = std::max(total, kBlockBytes);
      blocks_.push_back({std::unique_ptr<std::byte[]>(new std::byte[capacity]), capacity});
    }
  }
  Block& block = blocks_.back();
  std::byte* const out = block.data.get() + block.end;
  write_frame_header(out, kind, static_cast<std::uint32_t>(bytes.size()));
  if (!bytes.empty()) std::memcpy(out + kFrameHeaderBytes, bytes.data(), bytes.size());
  std::memset(out + kFrameHeaderBytes + bytes.size(), 0, total - kFrameHeaderBytes - bytes.size());
  block.end += total;
  control_bytes_ += total;
}

void Outbox::add_chunk(const PayloadChunk& chunk, const std::byte* data, PayloadDone done) {
  Chunk& added = chunks_.emplace_back();
  write_chunk_header(added.header, chunk);
  added.data = data;
  added.bytes = chunk.bytes;
  added.sent = 0;
  added.done = std::move(done);
  chunk_bytes_ += added.total();
}

std::size_t Outbox::gather(iovec* parts, std::size_t parts_max, std::size_t bytes_max) {
  std::size_t count = 0;
  std::size_t bytes = 0;
  const auto add_chunk_parts = [&](const Chunk& chunk) {
    std::size_t skip = chunk.sent;
    bytes += chunk.total() - skip;
    append(parts, count, chunk.header, kChunkHeaderBytes, skip);
    append(parts, count, chunk.data, chunk.bytes, skip);
    append(parts, count, kZeros, padding_after(chunk.bytes), skip);
  };
  const bool has_begun = chunk_has_begun();
  if (has_begun) add_chunk_parts(chunks_.front());
  for (const Block& block : blocks_) {
    if (count == parts_max || bytes >= bytes_max) return count;
    if (block.begin == block.end) continue;
    parts[count++] = {block.data.get() + block.begin, block.end - block.begin};
    bytes += block.end - block.begin;
  }
  for (std::size_t i = has_begun ? 1 : 0; i < chunks_.size(); ++i) {
    if (count + 3 > parts_max || bytes >= bytes_max) return count;
    add_chunk_parts(chunks_[i]);
  }
  return count;
}

std::size_t Outbox::consume_chunk(std::size_t bytes, std::vector<PayloadDone>& finished) {
  Chunk& chunk = chunks_.front();
  const std::size_t here = std::min(bytes, chunk.total() - chunk.sent);
  chunk.sent += here;
  chunk_bytes_ -= here;
  if (chunk.sent == chunk.total()) {
    finished.push_back(std::move(chunk.done));
    chunks_.pop_front();
  }
  return here;
}

void Outbox::consume(std::size_t bytes, std::vector<PayloadDone>& finished) {
  if (bytes > 0 && chunk_has_begun()) bytes -= consume_chunk(bytes, finished);
  while (bytes > 0 && control_bytes_ > 0) {
    Block& block = blocks_.front();
    const std::size_t here = std::min(bytes, block.end - block.begin);
    block.begin += here;
    control_bytes_ -= here;
    bytes -= here;
    if (block.begin < block.end) break;
    if (block.capacity == kBlockBytes) {
      spare_ = std::move(block);
      spare_.begin = spare_.end = 0;
    }
    blocks_.pop_front();
  }
  while (bytes > 0 && !chunks_.empty()) bytes -= consume_chunk(bytes, finished);
  RAYX_CHECK(bytes == 0, "more was sent than there was", bytes);
}

void Outbox::drop_chunks(std::vector<PayloadDone>& dropped) {
  if (chunk_has_begun()) {
    // The peer takes what follows for the chunk's bytes until it has them all: they go out from a copy.
    iovec parts[3];
    std::size_t count = 0;
    const Chunk& chunk = chunks_.front();
    std::size_t skip = chunk.sent;
    append(parts, count, chunk.header, kChunkHeaderBytes, skip);
    append(parts, count, chunk.data, chunk.bytes, skip);
    append(parts, count, kZeros, padding_after(chunk.bytes), skip);
    const std::size_t rest = chunk.total() - chunk.sent;
    Block block{std::unique_ptr<std::byte[]>(new std::byte[rest]), rest};
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(block.data.get() + block.end, parts[i].iov_base, parts[i].iov_len);
      block.end += parts[i].iov_len;
    }
    control_bytes_ += rest;
    blocks_.push_front(std::move(block));
  }
  for (Chunk& chunk : chunks_) dropped.push_back(std::move(chunk.done));
  chunks_.clear();
  chunk_bytes_ = 0;
}

void Outbox::clear(std::vector<PayloadDone>& dropped) {
  drop_chunks(dropped);
  blocks_.clear();
  control_bytes_ = 0;
}

}  // namespace rayx::wire

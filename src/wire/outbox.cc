#include "wire/outbox.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

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

void write_frame(std::byte* out, FrameKind kind, std::span<const std::byte> bytes) {
  write_frame_header(out, kind, static_cast<std::uint32_t>(bytes.size()));
  if (!bytes.empty()) std::memcpy(out + kFrameHeaderBytes, bytes.data(), bytes.size());
  std::memset(out + kFrameHeaderBytes + bytes.size(), 0, padding_after(bytes.size()));
}

}  // namespace

Outbox::Block Outbox::take_block(std::size_t bytes) {
  if (bytes <= kBlockBytes && !spares_.empty()) {
    Block block = std::move(spares_.back());
    spares_.pop_back();
    return block;
  }
  const std::size_t capacity = std::max(bytes, kBlockBytes);
  return {std::make_shared_for_overwrite<std::byte[]>(capacity), capacity};
}

void Outbox::give_back(Block block) {
  if (block.capacity != kBlockBytes || spares_.size() == kSparesMax || block.data.use_count() != 1) return;
  block.begin = block.end = 0;
  spares_.push_back(std::move(block));
}

void Outbox::add_frame(FrameKind kind, std::span<const std::byte> bytes) {
  const std::size_t total = kFrameHeaderBytes + bytes.size() + padding_after(bytes.size());
  if (blocks_.size() == 1 && blocks_.front().begin == blocks_.front().end && blocks_.front().data.use_count() == 1)
    blocks_.front().begin = blocks_.front().end = 0;  // all of it is confirmed
  if (blocks_.empty() || blocks_.back().capacity - blocks_.back().end < total) blocks_.push_back(take_block(total));
  Block& block = blocks_.back();
  write_frame(block.data.get() + block.end, kind, bytes);
  block.end += total;
  control_bytes_ += total;
}

void Outbox::add_first(FrameKind kind, std::span<const std::byte> bytes) {
  first_.erase(first_.begin(), first_.begin() + static_cast<std::ptrdiff_t>(std::exchange(first_begin_, 0)));
  const std::size_t before = first_.size();
  first_.resize(before + kFrameHeaderBytes + bytes.size() + padding_after(bytes.size()));
  write_frame(first_.data() + before, kind, bytes);
}

void Outbox::add_chunk(const PayloadChunk& chunk, const std::byte* data, PayloadDone done, std::shared_ptr<void> keep) {
  Chunk& added = chunks_.emplace_back();
  write_chunk_header(added.header, chunk);
  added.data = data;
  added.bytes = chunk.bytes;
  added.sent = 0;
  added.done = std::move(done);
  added.keep = std::move(keep);
  chunk_bytes_ += added.total();
}

std::size_t Outbox::gather(iovec* parts, std::size_t parts_max, std::size_t bytes_max) {
  std::size_t count = 0;
  std::size_t bytes = 0;
  const auto is_full = [&](std::size_t wanted) { return count + wanted > parts_max || bytes >= bytes_max; };
  const auto add_chunk_parts = [&](const Chunk& chunk, std::size_t skip) {
    bytes += chunk.total() - skip;
    append(parts, count, chunk.header, kChunkHeaderBytes, skip);
    append(parts, count, chunk.data, chunk.bytes, skip);
    append(parts, count, kZeros, padding_after(chunk.bytes), skip);
  };
  const auto add_bytes = [&](const std::byte* data, std::size_t size) {
    if (size == 0) return;
    parts[count++] = {const_cast<std::byte*>(data), size};
    bytes += size;
  };
  add_bytes(first_.data() + first_begin_, first_.size() - first_begin_);
  if (again_bytes_ > 0) {
    for (std::size_t i = again_; i < sent_.size(); ++i) {
      if (is_full(3)) return count;
      const std::size_t skip = i == again_ ? again_begin_ : 0;
      const Piece& piece = sent_[i];
      if (piece.frames.data) {
        add_bytes(piece.frames.data.get() + piece.frames.begin + skip, piece.bytes() - skip);
      } else {
        add_chunk_parts(piece.chunk, skip);
      }
    }
    if (is_full(3)) return count;
  }
  const bool has_begun = chunk_has_begun();
  if (has_begun) add_chunk_parts(chunks_.front(), chunks_.front().sent);
  for (const Block& block : blocks_) {
    if (is_full(1)) return count;
    add_bytes(block.data.get() + block.begin, block.end - block.begin);
  }
  for (std::size_t i = has_begun ? 1 : 0; i < chunks_.size(); ++i) {
    if (is_full(3)) return count;
    add_chunk_parts(chunks_[i], 0);
  }
  return count;
}

// What a chunk keeps goes with the word that it is done, and so never inside of a call of its owner.
PayloadDone Outbox::done_with_keep(Chunk& chunk) {
  if (!chunk.keep) return std::move(chunk.done);
  return [done = std::move(chunk.done), keep = std::move(chunk.keep)](bool was_sent) {
    if (done) done(was_sent);
  };
}

std::size_t Outbox::consume_chunk(std::size_t bytes, std::vector<PayloadDone>& finished) {
  Chunk& chunk = chunks_.front();
  const std::size_t here = std::min(bytes, chunk.total() - chunk.sent);
  chunk.sent += here;
  chunk_bytes_ -= here;
  if (chunk.sent == chunk.total()) {
    finished.push_back(keeps_sent_ ? std::exchange(chunk.done, nullptr) : done_with_keep(chunk));
    if (keeps_sent_) {
      sent_position_ += chunk.total();
      sent_.push_back({{}, std::move(chunk)});
    }
    chunks_.pop_front();
  }
  return here;
}

void Outbox::consume_first(std::size_t& bytes) {
  const std::size_t here = std::min(bytes, first_.size() - first_begin_);
  first_begin_ += here;
  bytes -= here;
  if (first_begin_ == first_.size()) first_.clear(), first_begin_ = 0;
}

void Outbox::consume_again(std::size_t& bytes) {
  while (bytes > 0 && again_bytes_ > 0) {
    const std::size_t total = sent_[again_].bytes();
    const std::size_t here = std::min(bytes, total - again_begin_);
    again_begin_ += here;
    again_bytes_ -= here;
    bytes -= here;
    if (again_begin_ == total) ++again_, again_begin_ = 0;
  }
}

void Outbox::consume_control(std::size_t& bytes) {
  while (bytes > 0 && control_bytes_ > 0) {
    Block& block = blocks_.front();
    const std::size_t here = std::min(bytes, block.end - block.begin);
    if (keeps_sent_ && here > 0) {
      sent_position_ += here;
      if (!sent_.empty() && sent_.back().frames.data == block.data) {
        sent_.back().frames.end += here;
      } else {
        sent_.push_back({Block{block.data, block.capacity, block.begin, block.begin + here}, {}});
      }
    }
    block.begin += here;
    control_bytes_ -= here;
    bytes -= here;
    if (block.begin < block.end) break;
    // What is kept would keep a whole block for each message: the last one is filled up.
    if (keeps_sent_ && blocks_.size() == 1) break;
    give_back(std::move(block));
    blocks_.pop_front();
  }
}

void Outbox::consume(std::size_t bytes, std::vector<PayloadDone>& finished) {
  consume_first(bytes);
  consume_again(bytes);
  if (bytes > 0 && chunk_has_begun()) bytes -= consume_chunk(bytes, finished);
  consume_control(bytes);
  while (bytes > 0 && !chunks_.empty()) bytes -= consume_chunk(bytes, finished);
  RAYX_CHECK(bytes == 0, "more was sent than there was", bytes);
}

bool Outbox::confirm(std::uint64_t position, std::vector<std::shared_ptr<void>>& released) {
  if (position > sent_position_ - again_bytes_) return false;
  while (position > confirmed_position_) {
    Piece& piece = sent_.front();
    const std::uint64_t left = position - confirmed_position_;
    const std::size_t total = piece.bytes();
    if (left < total) {
      if (!piece.frames.data) return false;
      piece.frames.begin += left;
      confirmed_position_ = position;
      if (again_bytes_ > 0 && again_ == 0) again_begin_ -= left;
      return true;
    }
    if (piece.chunk.keep) released.push_back(std::move(piece.chunk.keep));
    Block frames = std::move(piece.frames);
    sent_.pop_front();
    if (again_bytes_ > 0) --again_;
    confirmed_position_ += total;
    if (frames.data) give_back(std::move(frames));
  }
  return true;
}

bool Outbox::rewind(std::uint64_t position, std::vector<std::shared_ptr<void>>& released) {
  again_bytes_ = 0;
  // It may know less than it has confirmed in no case: what is confirmed is gone.
  if (position < confirmed_position_ || !confirm(position, released)) return false;
  first_.clear();
  first_begin_ = 0;
  if (chunk_has_begun()) chunk_bytes_ += std::exchange(chunks_.front().sent, 0);
  again_ = again_begin_ = 0;
  again_bytes_ = unconfirmed_bytes();
  return true;
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
    Block block{std::make_shared_for_overwrite<std::byte[]>(rest), rest};
    for (std::size_t i = 0; i < count; ++i) {
      std::memcpy(block.data.get() + block.end, parts[i].iov_base, parts[i].iov_len);
      block.end += parts[i].iov_len;
    }
    control_bytes_ += rest;
    blocks_.push_front(std::move(block));
  }
  for (Chunk& chunk : chunks_) dropped.push_back(done_with_keep(chunk));
  chunks_.clear();
  chunk_bytes_ = 0;
}

void Outbox::clear(std::vector<PayloadDone>& dropped) {
  drop_chunks(dropped);
  blocks_.clear();
  control_bytes_ = 0;
  first_.clear();
  first_begin_ = 0;
  for (Piece& piece : sent_)
    if (piece.chunk.keep) dropped.push_back(done_with_keep(piece.chunk));
  sent_.clear();
  again_bytes_ = 0;
  confirmed_position_ = sent_position_;
}

}  // namespace rayx::wire

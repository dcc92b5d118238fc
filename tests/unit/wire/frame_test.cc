#include "wire/frame.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <random>
#include <variant>
#include <vector>

#include "kit/seed.hpp"
#include "wire/outbox.hpp"

namespace rayx::wire {
namespace {

using testing::HasSubstr;
using Bytes = std::vector<std::byte>;

// Writes down what the parser tells.
struct Recorder final : FrameSink {
  bool on_frame(FrameKind kind, std::span<const std::byte> bytes) override {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes.data()) % 8, 0u);
    frames.emplace_back(kind, Bytes(bytes.begin(), bytes.end()));
    if (parser != nullptr && pauses) parser->pause();
    return !stops;
  }
  std::span<std::byte> on_chunk_begin(const PayloadChunk& chunk) override {
    if (refused_stream == chunk.stream) return {};
    place.assign(chunk.bytes, std::byte{0xee});
    return place;
  }
  bool on_chunk_end(const PayloadChunk& chunk) override {
    Bytes& stream = streams[chunk.stream];
    if (checks_offsets) {
      EXPECT_EQ(stream.size(), chunk.offset);
    }
    stream.insert(stream.end(), place.begin(), place.end());
    ++chunks;
    return true;
  }
  std::vector<std::pair<FrameKind, Bytes>> frames;
  std::map<std::uint64_t, Bytes> streams;
  std::size_t chunks = 0;
  Bytes place;
  std::uint64_t refused_stream = UINT64_MAX;
  FrameParser* parser = nullptr;
  bool pauses = false;
  bool stops = false;
  bool checks_offsets = true;
};

// Puts the bytes where the parser wants them, at most `step` at a time. False when the parser has stopped.
bool feed(FrameParser& parser, FrameSink& sink, std::span<const std::byte> bytes, std::size_t step) {
  while (!bytes.empty()) {
    std::size_t done = 0;
    for (const std::span<std::byte> part : parser.space()) {
      const std::size_t here = std::min({part.size(), bytes.size() - done, step - done});
      if (here > 0) std::memcpy(part.data(), bytes.data() + done, here);
      done += here;
    }
    EXPECT_GT(done, 0u) << "the parser has no room for the next byte";
    if (done == 0 || !parser.commit(done, sink)) return false;
    bytes = bytes.subspan(done);
  }
  return true;
}

Bytes frame(FrameKind kind, std::span<const std::byte> body) {
  Bytes bytes(kFrameHeaderBytes + body.size() + padding_after(body.size()));
  write_frame_header(bytes.data(), kind, static_cast<std::uint32_t>(body.size()));
  if (!body.empty()) std::memcpy(bytes.data() + kFrameHeaderBytes, body.data(), body.size());
  return bytes;
}
Bytes random_bytes(std::mt19937_64& random, std::size_t count) {
  Bytes bytes(count);
  for (std::byte& byte : bytes) byte = std::byte(random() & 0xff);
  return bytes;
}
void append(Bytes& to, const Bytes& what) { to.insert(to.end(), what.begin(), what.end()); }

// The model: what goes into an outbox comes out of a parser, however the stream is cut at both ends.
TEST(Frames, WhatIsSentArrivesHoweverTheStreamIsCut) {
  std::mt19937_64 random(kit::seed());
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  for (int round = 0; round < 60; ++round) {
    Outbox outbox;
    std::vector<Bytes> control;
    std::map<std::uint64_t, Bytes> streams;
    std::vector<std::unique_ptr<Bytes>> lent;
    std::size_t chunks = 0;
    std::size_t done = 0;
    Bytes wire;
    const auto send_some = [&] {
      iovec parts[16];
      std::size_t left = below(4) == 0 ? 1 + below(40) : 1 + below(300'000);
      const std::size_t count = outbox.gather(parts, 3 + below(14), 1 + below(200'000));
      std::size_t sent = 0;
      for (std::size_t i = 0; i < count && left > 0; ++i) {
        const std::size_t here = std::min(left, parts[i].iov_len);
        const auto* const data = static_cast<const std::byte*>(parts[i].iov_base);
        wire.insert(wire.end(), data, data + here);
        sent += here;
        left -= here;
      }
      std::vector<PayloadDone> finished;
      outbox.consume(sent, finished);
      for (const PayloadDone& one : finished) one(true);
    };
    outbox.add_frame(FrameKind::kHello, {});
    for (int step = 0; step < 60; ++step) {
      if (below(3) != 0) {
        control.push_back(random_bytes(random, below(8) == 0 ? below(200'000) : below(100)));
        outbox.add_frame(FrameKind::kControl, control.back());
      } else {
        const std::uint64_t stream = below(3);
        lent.push_back(
            std::make_unique<Bytes>(random_bytes(random, 1 + (below(2) ? below(50) : below(kPayloadBytesMax / 4)))));
        Bytes& all = streams[stream];
        outbox.add_chunk({stream, all.size(), static_cast<std::uint32_t>(lent.back()->size())}, lent.back()->data(),
                         [&](bool was_sent) { done += was_sent; });
        append(all, *lent.back());
        ++chunks;
      }
      if (below(2) == 0) send_some();
    }
    while (!outbox.is_empty()) send_some();
    EXPECT_EQ(done, chunks);
    EXPECT_EQ(wire.size() % 8, 0u);

    FrameParser parser(kControlBytesMax);
    Recorder recorder;
    recorder.parser = &parser;
    recorder.pauses = round % 2 == 1;
    for (std::span<const std::byte> rest = wire; !rest.empty();) {
      // With pauses the parser may have no room left until it is resumed.
      const std::size_t step = below(3) == 0 ? 1 + below(9) : 1 + below(400'000);
      const std::size_t piece = std::min(rest.size(), step);
      if (recorder.pauses) {
        while (parser.is_paused()) ASSERT_TRUE(parser.resume(recorder));
        std::size_t put = 0;
        for (const std::span<std::byte> part : parser.space()) {
          const std::size_t here = std::min(part.size(), piece - put);
          if (here > 0) std::memcpy(part.data(), rest.data() + put, here);
          put += here;
        }
        ASSERT_TRUE(parser.commit(put, recorder)) << parser.fault();
        rest = rest.subspan(put);
      } else {
        ASSERT_TRUE(feed(parser, recorder, rest.first(piece), piece)) << parser.fault();
        rest = rest.subspan(piece);
      }
    }
    while (parser.is_paused()) ASSERT_TRUE(parser.resume(recorder));
    EXPECT_FALSE(parser.is_inside_frame());
    ASSERT_EQ(recorder.frames.size(), control.size() + 1);
    for (std::size_t i = 0; i < control.size(); ++i) ASSERT_EQ(recorder.frames[i + 1].second, control[i]) << i;
    EXPECT_EQ(recorder.streams, streams);
    EXPECT_EQ(recorder.chunks, chunks);
  }
}

TEST(Frames, ControlGoesBeforeChunksThatHaveNotBegun) {
  Outbox outbox;
  const Bytes data(100'000, std::byte{1});
  iovec parts[64];
  std::vector<PayloadDone> finished;
  for (int i = 0; i < 3; ++i) outbox.add_chunk({1, 100'000u * i, 100'000}, data.data(), nullptr);
  outbox.gather(parts, 64, 1 << 20);
  outbox.consume(50'000, finished);  // the first has begun
  outbox.add_frame(FrameKind::kControl, std::span(data).first(10));
  ASSERT_GE(outbox.gather(parts, 64, 1 << 20), 3u);
  EXPECT_EQ(parts[0].iov_base, data.data() + 50'000 - kChunkHeaderBytes);
  EXPECT_EQ(static_cast<std::byte*>(parts[1].iov_base)[0], std::byte(FrameKind::kControl));
}

TEST(Frames, DroppedChunksLeaveAStreamThatCanBeRead) {
  Outbox outbox;
  outbox.add_frame(FrameKind::kHello, {});
  const Bytes data(1001, std::byte{7});
  bool was_told = false;
  outbox.add_chunk({1, 0, 1001}, data.data(), [&](bool was_sent) { was_told = !was_sent; });
  outbox.add_chunk({1, 1001, 1001}, data.data(), nullptr);
  Bytes wire;
  std::vector<PayloadDone> dropped;
  const auto take = [&](std::size_t most) {
    iovec parts[64];
    std::size_t sent = 0;
    const std::size_t count = outbox.gather(parts, 64, 1 << 20);
    for (std::size_t i = 0; i < count && sent < most; ++i) {
      const std::size_t here = std::min(most - sent, parts[i].iov_len);
      const auto* const begin = static_cast<const std::byte*>(parts[i].iov_base);
      wire.insert(wire.end(), begin, begin + here);
      sent += here;
    }
    outbox.consume(sent, dropped);
  };
  take(500);
  outbox.drop_chunks(dropped);
  ASSERT_EQ(dropped.size(), 2u);
  dropped[0](false);
  EXPECT_TRUE(was_told);
  outbox.add_frame(FrameKind::kGoodbye, {});
  while (!outbox.is_empty()) take(SIZE_MAX);
  FrameParser parser(kControlBytesMax);
  Recorder recorder;
  ASSERT_TRUE(feed(parser, recorder, wire, 100)) << parser.fault();
  EXPECT_EQ(recorder.chunks, 1u);
  ASSERT_EQ(recorder.frames.size(), 2u);
  EXPECT_EQ(recorder.frames[1].first, FrameKind::kGoodbye);
}

TEST(Frames, WhatBreaksTheRulesIsAFaultWithAReason) {
  const Bytes hello = frame(FrameKind::kHello, {});
  struct Case {
    Bytes bytes;
    const char* words;
    bool after_hello = true;
  };
  const auto raw = [](std::initializer_list<unsigned> values) {
    Bytes bytes;
    for (const unsigned value : values) bytes.push_back(std::byte(value));
    return bytes;
  };
  Bytes wide_chunk(kChunkHeaderBytes);
  write_chunk_header(wide_chunk.data(), {1, UINT64_MAX - 3, 8});
  Bytes no_chunk(kChunkHeaderBytes);
  write_chunk_header(no_chunk.data(), {1, 0, 0});
  Bytes dirty = frame(FrameKind::kControl, Bytes(3));
  dirty.back() = std::byte{1};
  const Case cases[] = {
      {raw({0, 0, 0, 0, 0, 0, 0, 0}), "unknown kind 0x00"},
      {raw({0xa9, 0, 0, 0, 0, 0, 0, 0}), "unknown kind 0xa9"},
      {raw({0xa2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff}), "4294967295 bytes"},
      {raw({0xa3, 0, 0, 0, 1, 0, 0x10, 0}), "1048577 bytes"},
      {raw({0xa4, 0, 0, 0, 1, 0, 0, 0}), "may have 0"},
      {raw({0xa6, 0, 0, 0, 1, 2, 0, 0}), "may have 512"},
      {raw({0xa2, 1, 0, 0, 0, 0, 0, 0}), "flags"},
      {raw({0xa2, 0, 1, 0, 0, 0, 0, 0}), "flags"},
      {hello, "second hello"},
      {frame(FrameKind::kControl, {}), "no hello", false},
      {raw({0xa1, 0, 0, 0, 0x19, 0x10, 0, 0}), "may have 4120", false},
      {raw({0xa7, 0, 0, 0, 9, 0, 0, 0}), "may have 8"},
      {wide_chunk, "2^64"},
      {no_chunk, "no bytes"},
      {dirty, "not zero"},
  };
  for (const Case& one : cases) {
    FrameParser parser(kControlBytesMax);
    Recorder recorder;
    Bytes bytes = one.after_hello ? hello : Bytes();
    append(bytes, one.bytes);
    append(bytes, frame(FrameKind::kControl, {}));
    EXPECT_FALSE(feed(parser, recorder, bytes, 1)) << one.words;
    EXPECT_THAT(parser.fault(), HasSubstr(one.words));
    EXPECT_FALSE(parser.commit(0, recorder));
    EXPECT_EQ(parser.space()[1].size(), 0u);
  }
}

// The model of a link with several connections: what is between two positions is lost at random, and goes out again.
TEST(Frames, WhatIsKeptGoesOutAgainOnANewConnectionAndArrivesOnce) {
  std::mt19937_64 random(kit::seed());
  const auto below = [&](std::uint64_t limit) { return random() % limit; };
  for (int round = 0; round < 60; ++round) {
    Outbox outbox;
    outbox.keep_sent();
    auto parser = std::make_unique<FrameParser>(kControlBytesMax);
    Recorder recorder;
    std::vector<Bytes> control;
    std::map<std::uint64_t, Bytes> streams;
    std::vector<std::weak_ptr<Bytes>> lent;
    std::uint64_t received_before = 0;
    std::size_t told = 0;
    const auto hello = [&] {
      const Bytes bytes(below(40));
      outbox.add_first(FrameKind::kHello, bytes);
    };
    const auto position = [&] { return received_before + parser->position(); };
    const auto send_some = [&] {
      iovec parts[16];
      std::size_t left = below(4) == 0 ? 1 + below(40) : 1 + below(300'000);
      const std::size_t count = outbox.gather(parts, 3 + below(14), 1 + below(200'000));
      Bytes wire;
      for (std::size_t i = 0; i < count && left > 0; ++i) {
        const std::size_t here = std::min(left, parts[i].iov_len);
        const auto* const data = static_cast<const std::byte*>(parts[i].iov_base);
        wire.insert(wire.end(), data, data + here);
        left -= here;
      }
      std::vector<PayloadDone> finished;
      outbox.consume(wire.size(), finished);
      for (const PayloadDone& done : finished) done(true);
      // Of what was sent some arrives; after the first byte that does not, nothing does.
      if (below(12) != 0) {
        ASSERT_TRUE(feed(*parser, recorder, wire, 1 + below(400'000))) << parser->fault();
        return;
      }
      ASSERT_TRUE(feed(*parser, recorder, std::span(wire).first(below(wire.size() + 1)), 1 + below(400'000)));
      received_before = position();
      std::vector<std::shared_ptr<void>> released;
      ASSERT_TRUE(outbox.rewind(received_before, released));
      parser = std::make_unique<FrameParser>(kControlBytesMax);
      hello();
    };
    hello();
    for (int step = 0; step < 80; ++step) {
      if (below(3) != 0) {
        control.push_back(random_bytes(random, below(8) == 0 ? below(200'000) : below(100)));
        outbox.add_frame(FrameKind::kControl, control.back());
      } else {
        const std::uint64_t stream = below(3);
        const auto bytes = std::make_shared<Bytes>(random_bytes(random, 1 + (below(2) ? below(50) : below(200'000))));
        lent.push_back(bytes);
        Bytes& all = streams[stream];
        outbox.add_chunk(
            {stream, all.size(), static_cast<std::uint32_t>(bytes->size())}, bytes->data(),
            [&](bool was_sent) { told += was_sent; }, bytes);
        append(all, *bytes);
      }
      if (below(2) == 0) send_some();
      if (below(5) == 0) {
        std::vector<std::shared_ptr<void>> released;
        ASSERT_TRUE(outbox.confirm(position(), released));
        EXPECT_FALSE(outbox.confirm(position() + outbox.unconfirmed_bytes() + 8, released)) << "it was not sent";
      }
      if (HasFatalFailure()) return;
    }
    while (!outbox.is_empty() && !HasFatalFailure()) send_some();
    EXPECT_EQ(told, lent.size()) << "each chunk is done once";
    std::vector<std::shared_ptr<void>> released;
    ASSERT_TRUE(outbox.confirm(position(), released));
    released.clear();
    EXPECT_EQ(outbox.unconfirmed_bytes(), 0u);
    for (const auto& bytes : lent) EXPECT_TRUE(bytes.expired());
    std::vector<Bytes> arrived;
    for (const auto& [kind, bytes] : recorder.frames)
      if (kind == FrameKind::kControl) arrived.push_back(bytes);
    EXPECT_EQ(arrived, control);
    EXPECT_EQ(recorder.streams, streams);
  }
}

TEST(Frames, ARefusedChunkIsDrainedAndADroppedOneIsNotWrittenAnyMore) {
  const Bytes data(5000, std::byte{7});
  Bytes wire = frame(FrameKind::kHello, {});
  for (const std::uint64_t stream : {3u, 4u, 5u}) {
    Bytes header(kChunkHeaderBytes);
    write_chunk_header(header.data(), {stream, 0, 5000});
    append(wire, header);
    append(wire, data);
  }
  FrameParser parser(kControlBytesMax);
  Recorder recorder;
  recorder.refused_stream = 3;
  const std::size_t in_the_second = 8 + (24 + 5000) + 24 + 1003;
  ASSERT_TRUE(feed(parser, recorder, std::span(wire).first(in_the_second), 777));
  parser.drop_chunk(9);  // another one
  parser.drop_chunk(4);
  std::fill(recorder.place.begin(), recorder.place.end(), std::byte{9});
  const Bytes before = recorder.place;
  ASSERT_TRUE(feed(parser, recorder, std::span(wire).subspan(in_the_second, 3990), 777));
  EXPECT_EQ(recorder.place, before);
  ASSERT_TRUE(feed(parser, recorder, std::span(wire).subspan(in_the_second + 3990), 777)) << parser.fault();
  EXPECT_EQ(recorder.streams, (std::map<std::uint64_t, Bytes>{{5, data}}));
}

TEST(Frames, AStoppedParserTellsNothingMore) {
  Bytes wire = frame(FrameKind::kHello, {});
  append(wire, frame(FrameKind::kPing, {}));
  FrameParser parser(kControlBytesMax);
  Recorder recorder;
  recorder.stops = true;
  EXPECT_FALSE(feed(parser, recorder, wire, wire.size()));
  EXPECT_EQ(recorder.frames.size(), 1u);
  EXPECT_TRUE(parser.fault().empty());
}

TEST(Frames, RandomBytesNeverDoHarm) {
  std::mt19937_64 random(kit::seed());
  for (int round = 0; round < 3000; ++round) {
    FrameParser parser(4096);
    Recorder recorder;
    recorder.checks_offsets = false;
    Bytes wire = frame(FrameKind::kHello, {});
    for (int i = 0; i < 20; ++i) {
      Bytes header(kFrameHeaderBytes);
      write_frame_header(header.data(), static_cast<FrameKind>(0xa1 + random() % 7),
                         static_cast<std::uint32_t>(random() % 300));
      if (random() % 8 == 0) header[random() % 8] = std::byte(random() & 0xff);
      append(wire, header);
      append(wire, random_bytes(random, random() % 64 * 8));
    }
    feed(parser, recorder, wire, 1 + random() % 100);
  }
}

}  // namespace
}  // namespace rayx::wire

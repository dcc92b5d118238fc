// The reader of frames against what a peer may send: every frame that a writer makes, and every damage to it.
#include "relay/frames.hpp"

#include <gtest/gtest.h>

#include <iterator>
#include <random>

#include "kit/seed.hpp"

namespace rayx::relay {
namespace {

struct Seen final : FrameHandler {
  std::vector<std::string> lines;
  static std::string text(std::span<const std::byte> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }
  static std::string text(const WireValue& value) {
    return value.stream != 0 ? "stream " + std::to_string(value.stream) : text(value.here);
  }
  void on_task(const TaskHead& task, const WireValue& arguments, std::span<const Part> parts) override {
    std::string line = "task " + std::to_string(task.number) + ' ' + text(arguments);
    line += names(arguments);
    for (const Part& part : parts)
      line += " part " + std::to_string(part.position) + ' ' + text(part.value) + names(part.value);
    lines.push_back(line);
  }
  void on_result(const ResultHead& result, const WireValue& value) override {
    lines.push_back("result " + std::to_string(result.number) + ' ' + text(value));
  }
  void on_offer(const OfferHead& offer, std::span<const ValueHead> values) override {
    std::string line = "offer " + std::to_string(offer.number);
    for (const ValueHead& value : values)
      line += " stream " + std::to_string(value.stream) + " of " + std::to_string(value.bytes);
    lines.push_back(line);
  }
  void on_admit(const AdmitHead& answer) override {
    lines.push_back("admit " + std::to_string(answer.number) + (answer.has_room != 0 ? " yes" : " no"));
  }
  void on_lost(const ResultHead& result, std::span<const std::byte> error) override {
    lines.push_back("lost " + std::to_string(result.number) + ' ' + text(error));
  }
  void on_returned(const ReturnHead& task) override { lines.push_back("returned " + std::to_string(task.number)); }
  void on_give_up(TaskNumber number) override { lines.push_back("give up " + std::to_string(number)); }
  void on_capacity(const CapacityHead& capacity) override {
    lines.push_back("capacity " + std::to_string(capacity.cpu_units) + " idle " + std::to_string(capacity.idle_units));
  }
  void on_modules(std::span<const std::byte> modules) override { lines.push_back("modules " + text(modules)); }
  void on_ask_capacity(const AskHead&) override { lines.push_back("ask capacity"); }
  void on_recall(const RecallHead& asked) override { lines.push_back("recall " + std::to_string(asked.tasks)); }
  void on_fetch(const FetchHead& object) override { lines.push_back("fetch " + std::to_string(object.key)); }
  void on_fetched(const FetchedHead& object, const WireValue& value) override {
    lines.push_back("fetched " + std::to_string(object.key) + ' ' + text(value) + names(value));
  }
  void on_release(const CountHead& object) override { lines.push_back("release " + std::to_string(object.key)); }
  void on_fetch_from(const LentHead& where) override { lines.push_back("fetch from " + std::to_string(where.key)); }
  void on_fetch_copy(const LentHead& object) override { lines.push_back("fetch copy " + std::to_string(object.key)); }
  void on_copied(const CopiedHead& object, const WireValue& value) override {
    lines.push_back("copied " + std::to_string(object.key) + ' ' + text(value));
  }
  void on_ask_hold(const KeyHead& object) override { lines.push_back("ask " + std::to_string(object.key)); }
  void on_hold_answer(const CountHead& object) override { lines.push_back("answer " + std::to_string(object.key)); }
  void on_lent_back(const LentHead& object) override { lines.push_back("lent back " + std::to_string(object.key)); }
  static std::string names(const WireValue& value) {
    std::string line;
    for (std::size_t i = 0; i < value.names.size(); ++i)
      line += " name " + std::to_string(value.names.at(i).key) + " at " + std::to_string(value.names.at(i).position);
    return line;
  }
};

std::span<const std::byte> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::byte*>(text.data()), text.size()};
}

std::string put_name(FrameWriter& writer, std::uint64_t key, std::size_t position) {
  writer.put(std::uint64_t{1});
  writer.put(NameEntry{position, 5, key, 0, 0});
  return " name " + std::to_string(key) + " at " + std::to_string(position);
}

std::vector<std::byte> random_frame(std::mt19937_64& random, std::vector<std::string>& expected) {
  FrameWriter writer;
  constexpr FrameKind kKinds[] = {
      FrameKind::kTasks,     FrameKind::kResults,     FrameKind::kReturned, FrameKind::kLost,
      FrameKind::kGiveUp,    FrameKind::kCapacity,    FrameKind::kOffer,    FrameKind::kFetch,
      FrameKind::kFetched,   FrameKind::kRelease,     FrameKind::kAskHold,  FrameKind::kHoldAnswer,
      FrameKind::kLentBack,  FrameKind::kAskCapacity, FrameKind::kAdmit,    FrameKind::kFetchFrom,
      FrameKind::kFetchCopy, FrameKind::kCopied,      FrameKind::kRecall,   FrameKind::kModules};
  const FrameKind kind = kKinds[random() % std::size(kKinds)];
  const std::uint64_t count = kind == FrameKind::kCapacity || kind == FrameKind::kModules ? 1 : 1 + random() % 5;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t number = random() % 1000;
    const std::string text(random() % 20, static_cast<char>('a' + random() % 26));
    switch (kind) {
      case FrameKind::kTasks: {
        const auto parts = static_cast<std::uint32_t>(random() % 3);
        const bool is_named = random() % 2 == 0 && text.size() >= kNameBytes;
        writer.add(kind, TaskHead{number, 77, 10'000, parts, text.size() | (is_named ? kHasNames : 0)});
        writer.put_bytes(bytes_of(text));
        std::string line = "task " + std::to_string(number) + ' ' + text;
        if (is_named) line += put_name(writer, number + 1, text.size() - kNameBytes);
        for (std::uint32_t p = 0; p < parts; ++p) {
          writer.put(PartHead{p, 0, text.size()});
          writer.put_bytes(bytes_of(text));
          line += " part " + std::to_string(p) + ' ' + text;
        }
        expected.push_back(line);
        break;
      }
      case FrameKind::kResults:
      case FrameKind::kLost:
        if (kind == FrameKind::kResults && random() % 3 == 0) {
          writer.add(kind, ResultHead{number, 0, 0, (std::uint64_t{1} << 20) | kByStream});
          writer.put_stream(number + 7);
          expected.push_back("result " + std::to_string(number) + " stream " + std::to_string(number + 7));
          break;
        }
        writer.add(kind, ResultHead{number, 0, 0, text.size()});
        writer.put_bytes(bytes_of(text));
        expected.push_back((kind == FrameKind::kLost ? "lost " : "result ") + std::to_string(number) + ' ' + text);
        break;
      case FrameKind::kReturned:
      case FrameKind::kGiveUp:
        writer.add(kind, ReturnHead{number, ReturnReason::kStoreFull, 0});
        expected.push_back((kind == FrameKind::kGiveUp ? "give up " : "returned ") + std::to_string(number));
        break;
      case FrameKind::kCapacity:
        writer.add(kind, CapacityHead{number, number, 9, number, 0});
        expected.push_back("capacity " + std::to_string(number) + " idle " + std::to_string(number));
        break;
      case FrameKind::kModules:
        writer.add(kind, ModulesHead{text.size()});
        writer.put_bytes(bytes_of(text));
        expected.push_back("modules " + text);
        break;
      case FrameKind::kAskCapacity:
        writer.add(kind, AskHead{});
        expected.push_back("ask capacity");
        break;
      case FrameKind::kRecall:
        writer.add(kind, RecallHead{10'000, number});
        expected.push_back("recall " + std::to_string(number));
        break;
      case FrameKind::kOffer: {
        const auto values = static_cast<std::uint32_t>(1 + random() % 3);
        writer.add(kind, OfferHead{number + 1, 7, OfferedFor::kResult, values});
        std::string line = "offer " + std::to_string(number + 1);
        for (std::uint32_t v = 1; v <= values; ++v) {
          writer.put(ValueHead{v, kStreamBytesMin + v});
          line += " stream " + std::to_string(v) + " of " + std::to_string(kStreamBytesMin + v);
        }
        expected.push_back(line);
        break;
      }
      case FrameKind::kAdmit:
        writer.add(kind, AdmitHead{number, number % 2});
        expected.push_back("admit " + std::to_string(number) + (number % 2 != 0 ? " yes" : " no"));
        break;
      case FrameKind::kFetched: {
        const std::string value = text + std::string(kNameBytes, 'n');
        writer.add(kind, FetchedHead{number, 0, 0, value.size() | kHasNames});
        writer.put_bytes(bytes_of(value));
        expected.push_back("fetched " + std::to_string(number) + ' ' + value + put_name(writer, 3, text.size()));
        break;
      }
      case FrameKind::kFetch:
        writer.add(kind, FetchHead{number, 0});
        expected.push_back("fetch " + std::to_string(number));
        break;
      case FrameKind::kFetchFrom:
      case FrameKind::kFetchCopy:
        writer.add(kind, LentHead{6, number});
        expected.push_back((kind == FrameKind::kFetchFrom ? "fetch from " : "fetch copy ") + std::to_string(number));
        break;
      case FrameKind::kCopied:
        writer.add(kind, CopiedHead{6, number, 1, (std::uint64_t{1} << 20) | kByStream});
        writer.put_stream(number + 7);
        expected.push_back("copied " + std::to_string(number) + " stream " + std::to_string(number + 7));
        break;
      case FrameKind::kAskHold:
        writer.add(kind, KeyHead{number});
        expected.push_back("ask " + std::to_string(number));
        break;
      case FrameKind::kRelease:
      case FrameKind::kHoldAnswer:
        writer.add(kind, CountHead{number, 1});
        expected.push_back((kind == FrameKind::kRelease ? "release " : "answer ") + std::to_string(number));
        break;
      case FrameKind::kLentBack:
        writer.add(kind, LentHead{5, number});
        expected.push_back("lent back " + std::to_string(number));
        break;
      default: break;
    }
  }
  return writer.finish();
}

TEST(Frames, WhatAWriterMakesIsReadAsItWas) {
  std::mt19937_64 random(kit::seed());
  for (int round = 0; round < 2'000; ++round) {
    std::vector<std::string> expected;
    const std::vector<std::byte> frame = random_frame(random, expected);
    Seen seen;
    EXPECT_EQ(read_frame(frame, seen), "");
    EXPECT_EQ(seen.lines, expected);
  }
}

TEST(Frames, ADamagedFrameHasNoEffectOrIsAnotherWholeFrame) {
  std::mt19937_64 random(kit::seed());
  int refused = 0;
  for (int round = 0; round < 5'000; ++round) {
    std::vector<std::string> ignored;
    std::vector<std::byte> frame = random_frame(random, ignored);
    if (random() % 2 == 0) {
      frame.resize(random() % frame.size());
    } else {
      frame[random() % frame.size()] ^= static_cast<std::byte>(1u << random() % 8);
    }
    Seen seen;
    if (read_frame(frame, seen).empty()) continue;
    ++refused;
    EXPECT_TRUE(seen.lines.empty());
  }
  EXPECT_GT(refused, 1'000);
}

TEST(Frames, ACutFrameIsAlwaysRefusedAndSaysWhy) {
  FrameWriter writer;
  writer.add(FrameKind::kResults, ResultHead{7, 0, 0, 5});
  writer.put_bytes(bytes_of("hello"));
  const std::vector<std::byte> bytes = writer.finish();
  const std::span<const std::byte> frame(bytes);
  for (std::size_t size = 0; size < frame.size(); ++size) {
    Seen seen;
    EXPECT_NE(read_frame(frame.first(size), seen), "") << size;
    EXPECT_TRUE(seen.lines.empty());
  }
  Seen seen;
  EXPECT_NE(read_frame(frame.first(20), seen).find("it ends inside a head"), std::string::npos);
}

TEST(Frames, ANameThatStandsOutsideItsValueOrOnAnotherIsRefused) {
  const auto problem = [](std::uint64_t first, std::uint64_t second, std::uint64_t count) {
    FrameWriter writer;
    writer.add(FrameKind::kFetched, FetchedHead{1, 0, 0, 40 | kHasNames});
    writer.put_bytes(bytes_of(std::string(40, 'x')));
    writer.put(count);
    writer.put(NameEntry{first, 5, 1, 0, 0});
    writer.put(NameEntry{second, 5, 2, 0, 0});
    const std::vector<std::byte> frame = writer.finish();
    Seen seen;
    return read_frame(frame, seen);
  };
  EXPECT_EQ(problem(0, 16, 2), "");
  EXPECT_EQ(problem(8, 24, 2), "");
  EXPECT_NE(problem(8, 23, 2), "");
  EXPECT_NE(problem(24, 8, 2), "");
  EXPECT_NE(problem(0, 25, 2), "");
  EXPECT_NE(problem(0, UINT64_MAX, 2), "");
  EXPECT_NE(problem(0, 16, 3), "");
  EXPECT_NE(problem(0, 16, UINT64_MAX / 8), "");
}

}  // namespace
}  // namespace rayx::relay

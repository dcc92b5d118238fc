// Every byte of a worker appears once, in order, with a prefix; and the writer never blocks, kills or loses.
#include "observe/line_prefixer.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <random>
#include <utility>

namespace rayx::observe {
namespace {

struct TestPipe {
  TestPipe() {
    if (::pipe2(ends, O_CLOEXEC) != 0) std::abort();
    ::fcntl(ends[0], F_SETFL, O_NONBLOCK);
  }
  ~TestPipe() { close_read(), close_write(); }
  void close_read() {
    if (ends[0] >= 0) ::close(std::exchange(ends[0], -1));
  }
  void close_write() {
    if (ends[1] >= 0) ::close(std::exchange(ends[1], -1));
  }
  std::string read_now() const {
    std::string text;
    char buffer[65536];
    for (ssize_t bytes; (bytes = ::read(ends[0], buffer, sizeof(buffer))) > 0;)
      text.append(buffer, static_cast<size_t>(bytes));
    return text;
  }
  int ends[2];
};

std::string through(std::initializer_list<std::string_view> pieces) {
  TestPipe pipe;
  OutputWriter out(pipe.ends[1]);
  LinePrefixer lines("w", 7, false);
  for (const std::string_view piece : pieces) lines.feed(piece, out);
  lines.finish(out);
  EXPECT_TRUE(out.flush());
  return pipe.read_now();
}

TEST(LinePrefixer, WholeLinesGetAPrefix) {
  EXPECT_EQ(through({"one\ntwo\n"}), "(w pid=7) one\n(w pid=7) two\n");
  EXPECT_EQ(through({"o", "ne", "\n", "\n"}), "(w pid=7) one\n(w pid=7) \n");
  EXPECT_EQ(through({"no end"}), "(w pid=7) no end\n");
  EXPECT_EQ(through({}), "");
  EXPECT_EQ(through({std::string_view("nul\0byte\n", 9)}), std::string("(w pid=7) nul\0byte\n", 19));
}

TEST(LinePrefixer, CarriageReturns) {
  EXPECT_EQ(through({"dos\r\nline\n"}), "(w pid=7) dos\r\n(w pid=7) line\n");
  EXPECT_EQ(through({"dos\r", "\nline\n"}), "(w pid=7) dos\r\n(w pid=7) line\n");
  EXPECT_EQ(through({"10%\r20%\r"}), "(w pid=7) 10%\r\n(w pid=7) 20%\r\n");
}

TEST(LinePrefixer, LongLinesComeInPieces) {
  const std::string exact(kLineBytesMax, 'x');
  EXPECT_EQ(through({exact, "\n"}), "(w pid=7) " + exact + "\n");
  EXPECT_EQ(through({exact + "y\n"}), "(w pid=7) " + exact + std::string(kContinuedMark) + "\n(w pid=7) y\n");
}

// The reverse of what the prefixer does.
std::string without_additions(std::string text, std::string_view prefix) {
  std::string bytes;
  while (!text.empty()) {
    EXPECT_EQ(text.substr(0, prefix.size()), prefix);
    const std::size_t end = text.find('\n');
    std::string line = text.substr(prefix.size(), end - prefix.size());
    if (line.ends_with(kContinuedMark)) {
      bytes += line.substr(0, line.size() - kContinuedMark.size());
    } else {
      bytes += line + '\n';
    }
    text.erase(0, end + 1);
  }
  return bytes;
}

TEST(LinePrefixer, EveryByteOnceForRandomBytesInRandomPieces) {
  const char* given = std::getenv("RAYX_SEED");
  const unsigned seed = given ? static_cast<unsigned>(std::strtoul(given, nullptr, 10)) : std::random_device{}();
  SCOPED_TRACE("RAYX_SEED=" + std::to_string(seed));
  std::mt19937 random(seed);
  std::string bytes;
  for (int i = 0; i < 200; ++i) {
    bytes.append(random() % 3 == 0 ? random() % 20000 : random() % 50, static_cast<char>(random() % 2 ? 'a' : '\0'));
    bytes.push_back(static_cast<char>(random() % 255 == '\r' ? 'x' : '\n'));
  }
  TestPipe in, shown;
  ::fcntl(shown.ends[1], F_SETFL, O_NONBLOCK);  // a terminal that is slower than the worker
  ::fcntl(in.ends[1], F_SETFL, O_NONBLOCK);
  OutputWriter out(shown.ends[1]);
  LinePrefixer lines("name", 12, false);
  std::string got;
  std::size_t sent = 0;
  while (sent < bytes.size()) {
    const std::size_t piece = std::min<std::size_t>(1 + random() % 9000, bytes.size() - sent);
    const ssize_t written = ::write(in.ends[1], bytes.data() + sent, piece);
    if (written > 0) sent += static_cast<std::size_t>(written);
    lines.drain(in.ends[0], out, 1 + random() % 5000);
    out.flush();
    if (random() % 4 == 0) got += shown.read_now();
  }
  in.close_write();
  while (lines.drain(in.ends[0], out) != LinePrefixer::Drained::kClosed) {
  }
  lines.finish(out);
  while (!out.flush()) got += shown.read_now();
  got += shown.read_now();
  EXPECT_TRUE(without_additions(got, "(name pid=12) ") == bytes);
}

TEST(LinePrefixer, KeepsTheLastLines) {
  TestPipe pipe;
  OutputWriter out(pipe.ends[1]);
  LinePrefixer lines("w", 7, true);
  for (int i = 0; i < 100; ++i) lines.feed("line " + std::to_string(i) + "\r\n", out);
  lines.feed(std::string(1000, 'z'), out);
  lines.finish(out);
  ASSERT_EQ(lines.last_lines().size(), kKeptLinesMax);
  EXPECT_EQ(lines.last_lines().front(), "line 81");
  EXPECT_EQ(lines.last_lines().back(), std::string(kKeptLineBytesMax, 'z') + " [cut]");
  out.flush();
  EXPECT_TRUE(pipe.read_now().starts_with("\x1b[33m(w pid=7)\x1b[0m line 0\r\n"));
}

TEST(OutputWriter, AReaderThatIsGoneNeitherKillsNorBlocks) {
  TestPipe pipe;
  OutputWriter out(pipe.ends[1]);
  out.append("before\n");
  EXPECT_TRUE(out.flush());
  pipe.close_read();
  ASSERT_NE(::signal(SIGPIPE, SIG_DFL), SIG_ERR);
  out.append("after\n");
  EXPECT_TRUE(out.flush());
  EXPECT_TRUE(out.broken());
  EXPECT_EQ(out.dropped_bytes(), 6u);
  sigset_t pending;
  sigpending(&pending);
  EXPECT_EQ(sigismember(&pending, SIGPIPE), 0);
}

TEST(OutputWriter, AReaderThatDoesNotReadDoesNotBlockAndNothingIsLost) {
  TestPipe pipe;  // a blocking write end, as the user's own stdout
  OutputWriter out(pipe.ends[1]);
  std::string all;
  for (int i = 0; i < 30000; ++i) all += "line " + std::to_string(i) + '\n';
  out.append(all);
  EXPECT_FALSE(out.flush());
  EXPECT_FALSE(out.flush_within(5));
  std::string got;
  while (!out.flush()) got += pipe.read_now();
  got += pipe.read_now();
  EXPECT_TRUE(got == all);
}

TEST(OutputWriter, CongestionStopsTheReading) {
  TestPipe in, shown;
  OutputWriter out(shown.ends[1]);
  LinePrefixer lines("w", 7, false);
  out.append(std::string(OutputWriter::kPendingBytesHigh, 'x'));
  ASSERT_EQ(::write(in.ends[1], "later\n", 6), 6);
  EXPECT_EQ(lines.drain(in.ends[0], out), LinePrefixer::Drained::kMore);
  char buffer[16];
  EXPECT_EQ(::read(in.ends[0], buffer, sizeof(buffer)), 6);  // still in the pipe
}

TEST(OutputWriter, ColoursOnlyOnATerminal) {
  TestPipe pipe;
  EXPECT_FALSE(wants_colour(pipe.ends[1]));
  const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY);
  if (terminal < 0) GTEST_SKIP() << "no pseudo terminals here";
  ::setenv("TERM", "xterm", 1);
  ::unsetenv("NO_COLOR");
  EXPECT_TRUE(wants_colour(terminal));
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_FALSE(wants_colour(terminal));
  ::close(terminal);
}

}  // namespace
}  // namespace rayx::observe

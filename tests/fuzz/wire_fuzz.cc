// libFuzzer: any bytes from a stranger or a member, to every decoder of src/wire.
//   meson compile -C <dir> wire_fuzz && <dir>/tests/fuzz/wire_fuzz -max_len=4096 -max_total_time=60
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

#include "wire/endpoint.hpp"
#include "wire/frame.hpp"
#include "wire/handshake.hpp"
#include "wire/tls.hpp"
#include "wire/token.hpp"

namespace {

using namespace rayx::wire;
using Bytes = std::vector<std::byte>;

[[noreturn]] void stop(const char* what) {
  std::fprintf(stderr, "wire_fuzz: %s\n", what);
  std::abort();
}

const Token& token() {
  static const Token fixed = *Token::from_hex("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff");
  return fixed;
}

// Nobody who does not know the token gets through, whatever he says.
void try_handshake(Role role, bool tls, std::span<const std::byte> data) {
  Handshake handshake(role, token(), tls, Opening{});
  handshake.take_output();
  while (handshake.state() == Handshake::State::kReading) {
    const std::size_t wanted = handshake.wanted();
    if (data.size() < wanted) return void(handshake.may_begin_with(data));
    handshake.take(data.first(wanted));
    data = data.subspan(wanted);
    handshake.take_output();
    if (handshake.state() == Handshake::State::kStartTls) handshake.tls_is_done({});
  }
  if (handshake.state() == Handshake::State::kDone) stop("a proof without the token was accepted");
}

void try_session(std::span<const std::byte> data) {
  const auto hello = decode_session_hello(data);
  if (!hello) return;
  const auto again = encode_session_hello(*hello);
  if (!std::equal(again.begin(), again.end(), data.begin())) stop("one session has two forms");
}

// All that a parser tells, as bytes.
struct Log final : FrameSink {
  bool on_frame(FrameKind kind, std::span<const std::byte> bytes) override {
    if (reinterpret_cast<std::uintptr_t>(bytes.data()) % 8 != 0) stop("a frame is not aligned");
    note(static_cast<std::uint64_t>(kind), bytes.size());
    all.insert(all.end(), bytes.begin(), bytes.end());
    return kind != FrameKind::kGoodbye;
  }
  std::span<std::byte> on_chunk_begin(const PayloadChunk& chunk) override {
    note(chunk.stream, chunk.offset);
    if (chunk.stream % 4 == 3) return {};
    place.assign(chunk.bytes, std::byte{0});
    return place;
  }
  bool on_chunk_end(const PayloadChunk& chunk) override {
    note(chunk.stream, chunk.bytes);
    all.insert(all.end(), place.begin(), place.end());
    return true;
  }
  void note(std::uint64_t a, std::uint64_t b) {
    for (const std::uint64_t value : {a, b}) {
      const auto bytes = std::as_bytes(std::span(&value, 1));
      all.insert(all.end(), bytes.begin(), bytes.end());
    }
  }
  Bytes all;
  Bytes place;
};

bool feed(FrameParser& parser, Log& log, std::span<const std::byte> data, std::size_t step) {
  while (!data.empty()) {
    std::size_t done = 0;
    for (const std::span<std::byte> part : parser.space()) {
      const std::size_t here = std::min({part.size(), data.size() - done, step - done});
      if (here > 0) std::memcpy(part.data(), data.data() + done, here);
      done += here;
    }
    if (done == 0) stop("the parser has no room");
    if (!parser.commit(done, log)) return false;
    data = data.subspan(done);
  }
  return true;
}

// However the stream is cut, the same is told.
void try_frames(std::span<const std::byte> data, std::size_t step) {
  constexpr std::uint32_t kControlMax = 100'000;
  FrameParser at_once(kControlMax);
  FrameParser in_pieces(kControlMax);
  Log first;
  Log second;
  const bool first_goes_on = feed(at_once, first, data, data.size());
  const bool second_goes_on = feed(in_pieces, second, data, step);
  if (first_goes_on != second_goes_on || first.all != second.all || at_once.fault() != in_pieces.fault()) {
    stop("the parser tells something else when the stream is cut otherwise");
  }
}

void try_tls(Role role, std::span<const std::byte> data) {
  auto session = TlsSession::create(role, tls_key(token()));
  if (!session) stop("no TLS");
  (*session)->shake_hands();
  while (!data.empty()) {
    const std::span<std::byte> space = (*session)->input_space();
    const std::size_t here = std::min(space.size(), data.size());
    if (here == 0) return;
    std::memcpy(space.data(), data.data(), here);
    (*session)->commit_input(here);
    data = data.subspan(here);
    const TlsSession::Step step = (*session)->shake_hands();
    if (step == TlsSession::Step::kDone) stop("a session without the key was accepted");
    if (step == TlsSession::Step::kFailed) return;
  }
}

void try_endpoint(std::string_view text) {
  const rayx::Result<Endpoint> endpoint = Endpoint::parse(text);
  if (!endpoint) return;
  const rayx::Result<Endpoint> again = Endpoint::parse(endpoint->text());
  if (!again || !(*again == *endpoint)) stop("an endpoint's text is another endpoint");
}

void try_token(std::string_view text) {
  const rayx::Result<Token> read = Token::from_hex(text);
  if (read && !(*Token::from_hex(read->hex()) == *read)) stop("a token's text is another token");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size < 2) return 0;
  const std::span<const std::byte> data(reinterpret_cast<const std::byte*>(bytes) + 2, size - 2);
  const std::string_view text(reinterpret_cast<const char*>(data.data()), data.size());
  switch (bytes[0] % 10) {
    case 0: try_handshake(Role::kServer, false, data); break;
    case 1: try_handshake(Role::kClient, false, data); break;
    case 2: try_handshake(Role::kServer, true, data); break;
    case 3: try_tls(bytes[1] % 2 == 0 ? Role::kServer : Role::kClient, data); break;
    case 4: try_endpoint(text); break;
    case 5: try_token(text); break;
    default:  // what a member can say after its hello, and anything at all
      if (bytes[0] % 10 == 6) {
        try_session(data);
        try_frames(data, 1 + bytes[1]);
      } else {
        Bytes stream(kFrameHeaderBytes);
        write_frame_header(stream.data(), FrameKind::kHello, 0);
        stream.insert(stream.end(), data.begin(), data.end());
        try_frames(stream, 1 + bytes[1]);
      }
  }
  return 0;
}

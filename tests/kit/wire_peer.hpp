// A peer that speaks rayx's protocol by hand, over a bare socket: right up to where a test wants it to go wrong. Who includes this
// lists wire_dep, too.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <span>
#include <string>
#include <vector>

#include "kit/raw_socket.hpp"
#include "wire/frame.hpp"
#include "wire/handshake.hpp"

namespace rayx::kit {

// Does what its role has to do until the handshake is over, one way or the other. No TLS.
inline void shake_hands(RawSocket& socket, wire::Handshake& handshake) {
  for (;;) {
    if (const std::vector<std::byte> output = handshake.take_output(); !output.empty()) socket.send(output);
    if (handshake.state() != wire::Handshake::State::kReading) return;
    const std::size_t wanted = handshake.wanted();
    const std::vector<std::byte> bytes = socket.read(wanted);
    if (bytes.size() != wanted) return;
    handshake.take(bytes);
  }
}

// A client that has done everything right up to the hello.
inline RawSocket become_member(const std::string& address, const wire::Token& token) {
  RawSocket socket(address);
  wire::Handshake handshake(wire::Role::kClient, token, false);
  shake_hands(socket, handshake);
  EXPECT_EQ(handshake.state(), wire::Handshake::State::kDone) << handshake.error().message;
  return socket;
}

// A frame as it stands on the wire.
inline std::vector<std::byte> frame(wire::FrameKind kind, std::span<const std::byte> bytes) {
  std::vector<std::byte> whole(wire::kFrameHeaderBytes + bytes.size() + wire::padding_after(bytes.size()));
  wire::write_frame_header(whole.data(), kind, static_cast<std::uint32_t>(bytes.size()));
  std::copy(bytes.begin(), bytes.end(), whole.begin() + wire::kFrameHeaderBytes);
  return whole;
}

// The first frame of a link that ends with its connection.
inline std::vector<std::byte> hello(std::span<const std::byte> bytes) {
  const auto session = wire::encode_session_hello({});
  std::vector<std::byte> whole(session.begin(), session.end());
  whole.insert(whole.end(), bytes.begin(), bytes.end());
  return frame(wire::FrameKind::kHello, whole);
}

}  // namespace rayx::kit

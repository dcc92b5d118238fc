#include "wire/handshake.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <random>

#include "kit/seed.hpp"
#include "wire/tls.hpp"

namespace rayx::wire {
namespace {

using testing::HasSubstr;
using State = Handshake::State;

// Carries bytes between two ends until neither has more to say. TLS is done by saying that it was.
void converse(Handshake& a, Handshake& b, const Digest& a_exported = {}, const Digest& b_exported = {}) {
  for (bool went_on = true; went_on;) {
    went_on = false;
    for (auto [from, to] : {std::pair(&a, &b), std::pair(&b, &a)}) {
      std::vector<std::byte> bytes = from->take_output();
      std::span<const std::byte> rest = bytes;
      while (!rest.empty() && to->state() == State::kReading) {
        const std::size_t wanted = to->wanted();
        ASSERT_LE(wanted, rest.size());
        to->take(rest.first(wanted));
        rest = rest.subspan(wanted);
        went_on = true;
        if (to->state() == State::kStartTls && from->state() != State::kReading) break;
      }
    }
    if (a.state() == State::kStartTls && b.state() == State::kStartTls) {
      a.tls_is_done(a_exported);
      b.tls_is_done(b_exported);
      went_on = true;
    }
  }
}

TEST(Handshake, TwoEndsWithOneTokenAreDone) {
  const Token token = Token::make_random();
  for (const bool tls : {false, true}) {
    Handshake client(Role::kClient, token, tls);
    Handshake server(Role::kServer, token, tls);
    converse(client, server);
    EXPECT_EQ(client.state(), State::kDone) << client.error().message;
    EXPECT_EQ(server.state(), State::kDone) << server.error().message;
    EXPECT_EQ(client.version(), kProtocolVersion);
  }
}

TEST(Handshake, AWrongTokenIsSaidAtBothEnds) {
  Handshake client(Role::kClient, Token::make_random(), false);
  Handshake server(Role::kServer, Token::make_random(), false);
  converse(client, server);
  for (const Handshake* end : {&client, &server}) {
    EXPECT_EQ(end->state(), State::kRefused);
    EXPECT_THAT(end->error().message, HasSubstr("the token differs"));
    EXPECT_THAT(end->error().message, HasSubstr("RAYX_TOKEN_FILE"));
  }
}

TEST(Handshake, OtherVersionsAreRefusedWithBothNumbersAtBothEnds) {
  const Token token = Token::make_random();
  Handshake client(Role::kClient, token, false, Opening{.version = 9, .oldest_version = 8});
  Handshake server(Role::kServer, token, false, Opening{.version = 3, .oldest_version = 2});
  converse(client, server);
  for (const Handshake* end : {&client, &server}) {
    EXPECT_EQ(end->state(), State::kRefused);
    EXPECT_THAT(end->error().message, HasSubstr("versions 8 to 9"));
    EXPECT_THAT(end->error().message, HasSubstr("versions 2 to 3"));
  }
}

TEST(Handshake, TheNewestCommonVersionIsTaken) {
  const Token token = Token::make_random();
  Handshake client(Role::kClient, token, false, Opening{.version = 5, .oldest_version = 2});
  Handshake server(Role::kServer, token, false, Opening{.version = 3, .oldest_version = 3});
  converse(client, server);
  EXPECT_EQ(client.state(), State::kDone);
  EXPECT_EQ(client.version(), 3);
  EXPECT_EQ(server.version(), 3);
}

TEST(Handshake, DifferentPoliciesAreSaidAtBothEnds) {
  const Token token = Token::make_random();
  for (const bool client_tls : {false, true}) {
    Handshake client(Role::kClient, token, client_tls);
    Handshake server(Role::kServer, token, !client_tls);
    converse(client, server);
    EXPECT_EQ(client.state(), State::kRefused);
    EXPECT_EQ(server.state(), State::kRefused);
    EXPECT_THAT(client.error().message, HasSubstr("TLS"));
    EXPECT_THAT(server.error().message, HasSubstr("TLS"));
  }
}

TEST(Handshake, AReflectedClientLearnsNoProof) {
  // The attacker plays the server and has no token: it gives the client's own frames back.
  Handshake client(Role::kClient, Token::make_random(), false);
  const std::vector<std::byte> opening = client.take_output();
  client.take(opening);
  const std::vector<std::byte> proof = client.take_output();
  ASSERT_EQ(proof.size(), kProofBytes);
  client.take(proof);
  EXPECT_EQ(client.state(), State::kRefused);
}

TEST(Handshake, AProofOfAnotherConnectionIsWorthNothing) {
  // The attacker plays the client and asks another node's client for the proof: its nonce is another one.
  const Token token = Token::make_random();
  Handshake server(Role::kServer, token, false);
  Handshake victim(Role::kClient, token, false);
  const std::vector<std::byte> victims_opening = victim.take_output();
  server.take(victims_opening);
  std::vector<std::byte> answer = server.take_output();
  answer[20] ^= std::byte{1};  // not the nonce of this server
  victim.take(answer);
  server.take(victim.take_output());
  EXPECT_EQ(server.state(), State::kRefused);
}

TEST(Handshake, ASessionBetweenTwoOthersIsNoticed) {
  // Somebody ends TLS and begins it anew: the two sessions export different keys.
  const Token token = Token::make_random();
  Handshake client(Role::kClient, token, true);
  Handshake server(Role::kServer, token, true);
  Digest other{};
  other[0] = std::byte{1};
  converse(client, server, {}, other);
  EXPECT_EQ(client.state(), State::kRefused);
  EXPECT_EQ(server.state(), State::kRefused);
}

TEST(Handshake, AnyChangedBitOnTheWayIsNoticed) {
  const Token token = Token::make_random();
  // Each bit of the client's opening, the server's opening, the client's proof, the server's proof.
  for (std::size_t bit = 0; bit < 8 * 2 * (kOpeningBytes + kProofBytes); ++bit) {
    Handshake client(Role::kClient, token, false);
    Handshake server(Role::kServer, token, false);
    std::size_t seen = 0;
    for (const auto& [from, to] :
         {std::pair(&client, &server), {&server, &client}, {&client, &server}, {&server, &client}}) {
      std::vector<std::byte> bytes = from->take_output();
      if (to->state() != State::kReading || bytes.size() != to->wanted()) break;
      if (bit / 8 >= seen && bit / 8 < seen + bytes.size()) bytes[bit / 8 - seen] ^= std::byte(1 << bit % 8);
      seen += bytes.size();
      to->take(bytes);
    }
    EXPECT_FALSE(client.state() == State::kDone && server.state() == State::kDone) << "bit " << bit;
    EXPECT_FALSE(client.state() == State::kDone) << "bit " << bit;
  }
}

TEST(Handshake, StrangersAreKnownByTheirFirstBytes) {
  for (const auto& [bytes, words] :
       {std::pair("GET / HTTP/1.1", "HTTP"), {"\x16\x03\x01", "TLS"}, {"hello", "\"hello\""}}) {
    Handshake server(Role::kServer, Token::make_random(), false);
    EXPECT_FALSE(server.may_begin_with(bytes_of(bytes)));
    EXPECT_THAT(server.error().message, HasSubstr(words));
    EXPECT_TRUE(server.take_output().empty());
  }
  Handshake server(Role::kServer, Token::make_random(), false);
  EXPECT_TRUE(server.may_begin_with(bytes_of("rayx")));
}

TEST(Handshake, GarbageOfTheRightSizeIsRefused) {
  std::mt19937_64 random(kit::seed());
  for (int i = 0; i < 1000; ++i) {
    Handshake server(Role::kServer, Token::make_random(), i % 2 == 0);
    while (server.state() == State::kReading) {
      std::vector<std::byte> bytes(server.wanted());
      for (std::byte& byte : bytes) byte = std::byte(random() & 0xff);
      if (i % 4 < 2 && bytes.size() == kOpeningBytes) std::memcpy(bytes.data(), "rayxwire\1\0\1\0\0\0\0\0", 16);
      server.take(bytes);
    }
    EXPECT_NE(server.state(), State::kDone);
  }
}

// Bytes from one session's output to the other's input.
void carry(TlsSession& from, TlsSession& to) {
  while (!from.output().empty()) {
    const std::size_t bytes = std::min(from.output().size(), to.input_space().size());
    if (bytes == 0) return;
    std::memcpy(to.input_space().data(), from.output().data(), bytes);
    from.consume_output(bytes);
    to.commit_input(bytes);
  }
}

TEST(Tls, OneKeyMakesASessionAndItsSecretIsShared) {
  const Digest key = tls_key(Token::make_random());
  auto client = *TlsSession::create(Role::kClient, key);
  auto server = *TlsSession::create(Role::kServer, key);
  TlsSession::Step a{};
  TlsSession::Step b{};
  for (int i = 0; i < 4; ++i) {
    a = client->shake_hands();
    carry(*client, *server);
    b = server->shake_hands();
    carry(*server, *client);
  }
  ASSERT_EQ(a, TlsSession::Step::kDone) << client->error().message;
  ASSERT_EQ(b, TlsSession::Step::kDone) << server->error().message;
  EXPECT_EQ(client->exported(), server->exported());

  std::size_t bytes = 0;
  ASSERT_EQ(client->write(bytes_of("hello"), bytes), TlsSession::Step::kDone);
  ASSERT_EQ(bytes, 5u);
  const std::string encrypted(reinterpret_cast<const char*>(client->output().data()), client->output().size());
  EXPECT_EQ(encrypted.find("hello"), std::string::npos);
  carry(*client, *server);
  std::array<std::byte, 16> out;
  ASSERT_EQ(server->read(out, bytes), TlsSession::Step::kDone);
  EXPECT_EQ(bytes, 5u);
  EXPECT_EQ(server->read(out, bytes), TlsSession::Step::kNeedsInput);
}

TEST(Tls, AnotherKeyIsSaidAtBothEnds) {
  auto client = *TlsSession::create(Role::kClient, tls_key(Token::make_random()));
  auto server = *TlsSession::create(Role::kServer, tls_key(Token::make_random()));
  EXPECT_EQ(client->shake_hands(), TlsSession::Step::kNeedsInput);
  carry(*client, *server);
  EXPECT_EQ(server->shake_hands(), TlsSession::Step::kFailed);
  carry(*server, *client);
  EXPECT_EQ(client->shake_hands(), TlsSession::Step::kFailed);
  EXPECT_THAT(client->error().message, HasSubstr("the token differs"));
  EXPECT_THAT(server->error().message, HasSubstr("the token differs"));
}

}  // namespace
}  // namespace rayx::wire

// Hostile peers at a node that works for a program meanwhile: each is refused with a line that says what it did and whence, nothing of
// it stays, and the program never notices.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "hostile.hpp"
#include "kit/eventually.hpp"
#include "kit/process_facts.hpp"
#include "kit/program.hpp"
#include "kit/seed.hpp"
#include "kit/test_hosts.hpp"
#include "kit/wire_peer.hpp"

namespace rayx::cluster_test {
namespace {

using kit::RawSocket;
using testing::AllOf;
using testing::HasSubstr;
using wire::FrameKind;
using wire::Handshake;
using wire::Role;
using wire::Token;
using Bytes = std::vector<std::byte>;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}
Bytes bytes_of(std::string_view text) {
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

TEST_F(Hostile, AStrangerIsRefusedInWords) {
  struct Case {
    const char* name;
    std::function<void(RawSocket&)> act;
    const char* words;
  };
  std::mt19937_64 random(kit::seed());
  const auto garbage = [&random](std::size_t bytes) {
    std::string text(bytes, '\0');
    for (char& c : text) c = static_cast<char>(random());
    return text;
  };
  const Case cases[] = {
      {"http", [](RawSocket& peer) { peer.send("GET / HTTP/1.1\r\nHost: node\r\n\r\n"); }, "which is HTTP"},
      {"tls", [&](RawSocket& peer) { peer.send(std::string("\x16\x03\x01\x02").append(garbage(600))); },
       "began with TLS"},
      {"garbage", [&](RawSocket& peer) { peer.send(std::string("!").append(garbage(random() % 70'000))); },
       "is no rayx"},
      {"damaged opening", [&](RawSocket& peer) { peer.send(std::string("rayxwire\1\0\2\0", 12).append(garbage(36))); },
       "opening is damaged"},
      {"4 GiB frame", [](RawSocket& peer) { peer.send(std::string_view("\xa2\0\0\0\xff\xff\xff\xff", 8)); },
       "is no rayx"},
      {"half an opening",
       [](RawSocket& peer) {
         peer.send("rayxwire\1");
         peer.stop_writing();
       },
       "ended the connection during the handshake"},
      {"another version",
       [](RawSocket& peer) {
         peer.send(wire::encode_opening({.version = 77, .oldest_version = 70}));
         const Result<wire::Opening> answer = wire::decode_opening(peer.read_to_the_end());
         ASSERT_TRUE(answer.has_value());
         EXPECT_EQ(answer->refusal, wire::Refusal::kVersion);
       },
       "versions 70 to 77"},
      {"wrong token",
       [](RawSocket& peer) {
         Handshake handshake(Role::kClient, Token::make_random(), false);
         kit::shake_hands(peer, handshake);
         EXPECT_EQ(handshake.refusal(), wire::Refusal::kToken);
       },
       "the token differs"},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    start();  // anew, for the same kind is reported once in ten seconds
    RawSocket peer(address_);
    one.act(peer);
    peer.read_to_the_end();
    expect_refused_with(one.words);
    expect_unharmed();
  }
}

TEST_F(Hostile, AStrangerThatStopsHalfWayIsForgotten) {
  start();
  const std::size_t sockets = kit::count_sockets(node().pid());
  RawSocket peer(address_);
  peer.send("rayxwire\1");
  EXPECT_TRUE(peer.read_to_the_end().empty());
  expect_refused_with("did not finish the handshake");
  EXPECT_TRUE(kit::eventually([&] { return kit::count_sockets(node().pid()) <= sockets; }));
  expect_unharmed();
}

TEST_F(Hostile, ARecordedHandshakeIsWorthNothing) {
  start();
  // Somebody has listened while an honest client came in: what it said, and what the node answered.
  Bytes said;
  Bytes answered;
  RawSocket honest(address_);
  Handshake handshake(Role::kClient, token(), false);
  for (const std::size_t bytes : {wire::kOpeningBytes, wire::kProofBytes}) {
    const Bytes output = handshake.take_output();
    honest.send(output);
    said.insert(said.end(), output.begin(), output.end());
    const Bytes answer = honest.read(bytes);
    answered.insert(answered.end(), answer.begin(), answer.end());
    handshake.take(answer);
  }
  ASSERT_EQ(handshake.state(), Handshake::State::kDone);
  // To the node, as that client.
  RawSocket replayed(address_);
  replayed.send(said);
  EXPECT_EQ(replayed.read_to_the_end()[wire::kOpeningBytes], std::byte{2}) << "not a refusal";
  expect_refused_with("the token differs");
  expect_unharmed();
  // To a program, as that node.
  kit::RawListener listener;
  kit::Program program(variable("RAYX_LINKS_PROGRAM"), with(listener.address(), {"count"}));
  RawSocket victim = listener.accept();
  EXPECT_EQ(victim.read(wire::kOpeningBytes).size(), wire::kOpeningBytes);
  victim.send(answered);
  const auto ended = program.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(4));
  EXPECT_THAT(program.out(), AllOf(HasSubstr("the token differs"), HasSubstr(listener.address())));
}

TEST_F(Hostile, AProgramRefusesANodeWithAnotherToken) {
  (void)start_node();  // makes the token
  const auto meet = [&](const std::function<void(RawSocket&)>& act) {
    kit::RawListener listener;
    kit::Program program(variable("RAYX_LINKS_PROGRAM"), with(listener.address(), {"count"}));
    RawSocket peer = listener.accept();
    act(peer);
    const auto ended = program.wait();
    EXPECT_TRUE(ended.has_value() && ended->exited_with(4)) << program.out();
    EXPECT_THAT(program.out(), HasSubstr(listener.address()));
    return program.out();
  };
  // One that is honest about it, one that claims to know it, one that is something else.
  EXPECT_THAT(meet([](RawSocket& peer) {
                Handshake handshake(Role::kServer, Token::make_random(), false);
                kit::shake_hands(peer, handshake);
              }),
              HasSubstr("the token differs"));
  EXPECT_THAT(meet([](RawSocket& peer) {
                EXPECT_EQ(peer.read(wire::kOpeningBytes).size(), wire::kOpeningBytes);
                peer.send(wire::encode_opening({}));
                EXPECT_EQ(peer.read(wire::kProofBytes).size(), wire::kProofBytes);
                Bytes proof(wire::kProofBytes, std::byte{0});
                proof[0] = std::byte{1};
                peer.send(proof);
              }),
              HasSubstr("the token differs"));
  EXPECT_THAT(meet([](RawSocket& peer) { peer.send("HTTP/1.1 400 Bad Request\r\n\r\n"); }), HasSubstr("is no rayx"));
  EXPECT_THAT(meet([](RawSocket& peer) {
                EXPECT_EQ(peer.read(wire::kOpeningBytes).size(), wire::kOpeningBytes);
                peer.send(wire::encode_opening({.version = 9, .oldest_version = 8}));
              }),
              HasSubstr("versions 8 to 9"));
}

// From another host nothing is read in plain text, and what is no TLS is seen as that.
TEST_F(Hostile, FromAnotherHostOnlyTlsComesIn) {
  Result<std::unique_ptr<kit::TestHosts>> hosts = kit::TestHosts::make(2);
  if (!hosts) GTEST_SKIP() << hosts.error().message;
  start_head({.listen = (*hosts)->address(0), .network = (*hosts)->network(0)});
  const std::string address = start_node({.listen = (*hosts)->address(0), .network = (*hosts)->network(0)});
  std::thread([&] {
    kit::NetworkNamespace::enter((*hosts)->network(1));
    RawSocket plain(address);
    Handshake handshake(Role::kClient, token(), false);
    kit::shake_hands(plain, handshake);
    EXPECT_THAT(handshake.error().message, HasSubstr("the server wants an encrypted link"));
    EXPECT_TRUE(plain.read_to_the_end().empty());
  }).join();
  EXPECT_TRUE(node().read_errors_until("wants a plain link")) << node().err();

  const std::string other = start_node({.listen = (*hosts)->address(0), .network = (*hosts)->network(0)});
  std::thread([&] {
    kit::NetworkNamespace::enter((*hosts)->network(1));
    RawSocket garbled(other);
    garbled.send(wire::encode_opening({.wants_tls = true}));
    EXPECT_EQ(garbled.read(wire::kOpeningBytes).size(), wire::kOpeningBytes);
    garbled.send(std::string("\x16\x03\x01\x00\x20").append(32, 'x'));
    garbled.read_to_the_end();
  }).join();
  EXPECT_TRUE(node().read_errors_until("was not let in")) << node().err();
  EXPECT_THAT(node().err(), AllOf(HasSubstr((*hosts)->address(1)), HasSubstr("encrypted session")));
}

// Whoever has the token may still be of another build, or broken.
TEST_F(Hostile, AMemberThatBreaksTheRulesIsClosedInWords) {
  const std::string site = "rayx site 1";
  struct Case {
    const char* name;
    Bytes hello;
    Bytes then;
    const char* words;
  };
  std::mt19937_64 random(kit::seed());
  Bytes garbage(1 + random() % 5'000);
  for (std::byte& byte : garbage) byte = static_cast<std::byte>(random());
  const Case cases[] = {
      {"unknown purpose", bytes_of("a coffee machine"), {}, "does not know what the link is for"},
      {"4 GiB frame", bytes_of(site), bytes_of({"\xa2\0\0\0\xff\xff\xff\xff", 8}), "4294967295 bytes and may have"},
      {"4 GiB of payload", bytes_of(site), bytes_of({"\xa3\0\0\0\xff\xff\xff\xff", 8}),
       "4294967295 bytes and may have"},
      {"unknown kind", bytes_of(site), bytes_of({"\xff\0\0\0\0\0\0\0", 8}), "unknown kind 0xff"},
      {"garbage message", bytes_of(site), kit::frame(FrameKind::kControl, garbage), "rayx: "},
  };
  for (const Case& one : cases) {
    SCOPED_TRACE(one.name);
    start();  // anew, for one such line is written in ten seconds
    RawSocket peer = kit::become_member(address_, token());
    peer.send(kit::hello(one.hello));
    peer.send(one.then);
    EXPECT_THAT(text_of(peer.read_to_the_end()), HasSubstr(one.words));
    expect_refused_with("was closed: ");
    expect_refused_with(one.words);
    expect_unharmed();
  }
}

TEST_F(Hostile, AMemberThatFallsSilentInTheMiddleOfAFrameHoldsNobodyUp) {
  start();
  RawSocket peer = kit::become_member(address_, token());
  peer.send(kit::hello(bytes_of("rayx site 1")));
  Bytes half = kit::frame(FrameKind::kControl, Bytes(100'000));
  half.resize(half.size() / 2);
  peer.send(half);
  kit::Program next(variable("RAYX_LINKS_PROGRAM"), with_cluster({"count"}));
  ASSERT_TRUE(next.wait().has_value());
  EXPECT_EQ(next.out(), "node a\n") << next.err();
  expect_unharmed();
}

// Ports that a process listens on, from the tables of its network.
std::vector<std::string> listeners_of(const kit::Program& node) {
  std::vector<pid_t> processes = node.descendants();
  processes.push_back(node.pid());
  return kit::list_listeners(processes);
}

TEST_F(Hostile, NothingListensBeyondTheMachineUnlessAskedFor) {
  start();
  const std::vector<std::string> listeners = listeners_of(node());
  EXPECT_THAT(listeners, testing::ElementsAre(address_));
  expect_unharmed();

  const std::string everywhere = start_node({.listen = "0.0.0.0"});
  const std::string port = everywhere.substr(everywhere.rfind(':'));
  EXPECT_THAT(listeners_of(node()), testing::ElementsAre("0.0.0.0" + port));
}

}  // namespace
}  // namespace rayx::cluster_test

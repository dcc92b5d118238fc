// A socket that takes nothing at one moment and everything at the next. This program has a sendmsg of its own, which says so when it
// is told to; else it is the kernel's.
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>

#include "wire_kit.hpp"

namespace {
thread_local int refusals_left = 0;  // of this thread's next calls
}  // namespace

extern "C" ssize_t sendmsg(int socket, const msghdr* message, int flags) {
  if (refusals_left > 0) {
    --refusals_left;
    errno = EAGAIN;
    return -1;
  }
  return ::syscall(SYS_sendmsg, socket, message, flags);
}

namespace rayx::wire {
namespace {

using test::Client;
using test::Heard;
using test::Server;
using testing::ElementsAre;

// TLS takes the last bytes of a frame although the socket is full, and a moment later it is not any more: nobody will come to say
// that it is writable.
TEST(FullSocket, ThatEmptiesAtOnceDoesNotSilenceALink) {
  for (const TlsPolicy tls : {TlsPolicy::kOff, TlsPolicy::kOn}) {
    const Token token = Token::make_random();
    Server server(test::with(token, tls));
    Client client;
    ASSERT_EQ(client.connect(server.endpoint, test::with(token, tls)), "");
    ASSERT_TRUE(server.links.wait([](int count) { return count == 1; }));
    for (int refusals = 1; refusals <= 3; ++refusals) {
      client.thread.call([&] {
        refusals_left = refusals;
        EXPECT_EQ(client.link->send(bytes_of("first")), Sent::kQueued);
      });
      EXPECT_EQ(client.send("second"), Sent::kQueued);
      ASSERT_TRUE(server.handler.heard.wait([&](const Heard& all) {
        return all.control.size() == 2 * static_cast<std::size_t>(refusals);
      })) << refusals
          << " refusals, TLS " << (tls == TlsPolicy::kOn);
      EXPECT_EQ(client.thread.call([] { return refusals_left; }), 0) << "nothing was refused";
    }
    EXPECT_THAT(server.handler.heard.get().control,
                ElementsAre("first", "second", "first", "second", "first", "second"));
  }
}

}  // namespace
}  // namespace rayx::wire

// Test hosts: they reach each other, a cable that is pulled is silence, programs live on them.
#include "kit/test_hosts.hpp"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <chrono>
#include <cstring>
#include <functional>
#include <thread>

#include "kit/eventually.hpp"
#include "kit/program.hpp"
#include "kit/proxy.hpp"
#include "kit/raw_socket.hpp"

namespace rayx::kit {
namespace {

class Hosts : public testing::Test {
 protected:
  void SetUp() override {
    Result<std::unique_ptr<TestHosts>> made = TestHosts::make(3);
    if (!made) GTEST_SKIP() << made.error().message;
    hosts_ = std::move(*made);
  }
  // What a program of that host would do.
  void on(int host, const std::function<void()>& work) const {
    std::thread([&] {
      NetworkNamespace::enter(hosts_->network(host));
      work();
    }).join();
  }
  std::unique_ptr<TestHosts> hosts_;
};

TEST_F(Hosts, ReachEachOther) {
  std::string address;
  base::UniqueFd listener;
  on(0, [&] { listener = listen_on(hosts_->address(0), 4, address); });
  for (const int host : {1, 2}) {
    on(host, [&] {
      RawSocket client(address);
      EXPECT_TRUE(client.send("hello"));
      RawSocket server(base::UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
      EXPECT_EQ(server.read(5).size(), 5u);
    });
  }
}

TEST_F(Hosts, ACableThatIsPulledIsSilenceUntilItIsBack) {
  std::string address;
  base::UniqueFd listener;
  std::unique_ptr<RawSocket> client;
  on(0, [&] { listener = listen_on(hosts_->address(0), 4, address); });
  on(1, [&] { client = std::make_unique<RawSocket>(address); });
  RawSocket server(base::UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
  hosts_->cut(0);
  EXPECT_TRUE(client->send("later"));
  pollfd wait{server.fd(), POLLIN, 0};
  EXPECT_EQ(::poll(&wait, 1, 100), 0);
  hosts_->mend(0);
  EXPECT_EQ(server.read(5).size(), 5u);
}

TEST_F(Hosts, ProgramsAndProxiesLiveOnThem) {
  Program ask("/bin/sh", {.arguments = {"-c", "cat /proc/self/net/fib_trie"}, .network = hosts_->network(2)});
  ASSERT_TRUE(ask.wait().has_value());
  EXPECT_NE(ask.out().find(hosts_->address(2) + "\n"), std::string::npos) << ask.out();
  EXPECT_EQ(ask.out().find(hosts_->address(1) + "\n"), std::string::npos) << ask.out();

  std::string address;
  base::UniqueFd listener;
  on(0, [&] { listener = listen_on(hosts_->address(0), 4, address); });
  const Proxy between(address, {.listen = hosts_->address(2), .network = hosts_->network(2)});
  on(1, [&] {
    RawSocket client(between.address());
    EXPECT_TRUE(client.send("by a detour"));
    RawSocket server(base::UniqueFd(::accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC)));
    EXPECT_EQ(server.read(11).size(), 11u);
  });
}

}  // namespace
}  // namespace rayx::kit

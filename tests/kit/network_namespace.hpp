// A network of its own, as another machine has: what `ip netns`, `ip link` and `ip address` do, by hand, so that tests need no
// program for it. It has no name: the kernel takes it away with the last descriptor and the last process that have it.
#pragma once

#include <string>

#include "base/unique_fd.hpp"
#include "rayx/result.hpp"

namespace rayx::kit {

// Links are known by numbers that the caller chooses, from 2 on; 1 is the loopback. Any thread, one at a time.
class NetworkNamespace {
 public:
  static constexpr int kLoopback = 1;

  // kUnsupported where this process may not have one, or the kernel does not know how to; any other failure is a bug here.
  static Result<NetworkNamespace> make();

  int fd() const { return fd_.get(); }  // for setns
  // From here on the calling thread is inside.
  static void enter(int fd);

  Result<void> add_bridge(int link, const std::string& name);
  // A cable (veth) between this network, where its end is a port of the bridge, and `other`. Both ends are down.
  Result<void> add_cable(int port, int bridge, const NetworkNamespace& other, int link_there);
  Result<void> add_address(int link, const std::string& ipv4, int prefix_bits);
  Result<void> set_up(int link, bool is_up);
  // It is up, and so is the other end of its cable: what is sent goes out. The kernel may be up to a second late to notice.
  bool is_running(int link);

 private:
  NetworkNamespace(base::UniqueFd fd, base::UniqueFd netlink) : fd_(std::move(fd)), netlink_(std::move(netlink)) {}
  void send(const std::string& message) const;
  Result<void> ask(const std::string& message, const char* what);

  base::UniqueFd fd_;
  base::UniqueFd netlink_;  // was made inside, and so speaks of this network whoever uses it
};

}  // namespace rayx::kit

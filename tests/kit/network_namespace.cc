#include "kit/network_namespace.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <thread>
#include <utility>

#include "base/check.hpp"

namespace rayx::kit {
namespace {

// What only says that this machine does not have, or does not allow, such networks.
Error refusal(int code, const char* what) {
  RAYX_CHECK(code == EPERM || code == EACCES || code == ENOSYS || code == EOPNOTSUPP || code == ENOSPC,
             "a network for tests could not be made:", what, std::strerror(code));
  return {ErrorCode::kUnsupported, std::string("networks of their own for test hosts: ") + what + ": " +
                                       std::strerror(code) +
                                       (code == EPERM ? " (they need root, or CAP_SYS_ADMIN and CAP_NET_ADMIN)" : "")};
}

// One request of rtnetlink(7), put together piece by piece. Each piece begins at a multiple of four bytes.
class Request {
 public:
  Request(std::uint16_t type, std::uint16_t flags) {
    add(nlmsghdr{.nlmsg_len = 0,
                 .nlmsg_type = type,
                 .nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | NLM_F_ACK | flags),
                 .nlmsg_seq = 1,
                 .nlmsg_pid = 0});
  }
  template <class T>
  Request& add(const T& header) {
    bytes_.append(reinterpret_cast<const char*>(&header), sizeof(header));
    bytes_.resize(NLMSG_ALIGN(bytes_.size()));
    return *this;
  }
  Request& link(int index, unsigned flags) {
    ifinfomsg about{};
    about.ifi_family = AF_UNSPEC;
    about.ifi_index = index;
    about.ifi_flags = flags;
    about.ifi_change = IFF_UP;
    return add(about);
  }
  Request& attribute(std::uint16_t type, std::string_view value) {
    const std::size_t at = open(type);
    bytes_.append(value);
    close(at);
    return *this;
  }
  Request& number(std::uint16_t type, std::uint32_t value) {
    return attribute(type, {reinterpret_cast<const char*>(&value), sizeof(value)});
  }
  // An attribute that holds others, until its close.
  std::size_t open(std::uint16_t type) {
    const std::size_t at = bytes_.size();
    add(rtattr{.rta_len = 0, .rta_type = type});
    return at;
  }
  void close(std::size_t at) {
    const auto bytes = static_cast<std::uint16_t>(bytes_.size() - at);
    std::memcpy(&bytes_[at + offsetof(rtattr, rta_len)], &bytes, sizeof(bytes));
    bytes_.resize(RTA_ALIGN(bytes_.size()));
  }
  std::string finish() {
    const auto bytes = static_cast<std::uint32_t>(bytes_.size());
    std::memcpy(&bytes_[offsetof(nlmsghdr, nlmsg_len)], &bytes, sizeof(bytes));
    return std::move(bytes_);
  }

 private:
  std::string bytes_;
};

}  // namespace

Result<NetworkNamespace> NetworkNamespace::make() {
  base::UniqueFd fd;
  base::UniqueFd netlink;
  int error = 0;
  // Of a thread that ends: the others stay where they are.
  std::thread([&] {
    if (::unshare(CLONE_NEWNET) != 0) {
      error = errno;
      return;
    }
    fd = base::UniqueFd(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
    netlink = base::UniqueFd(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
    if (!fd || !netlink) error = errno;
  }).join();
  if (error != 0) return refusal(error, "unshare");
  return NetworkNamespace(std::move(fd), std::move(netlink));
}

void NetworkNamespace::enter(int fd) {
  RAYX_CHECK(::setns(fd, CLONE_NEWNET) == 0, "cannot enter a network of a test:", std::strerror(errno));
}

Result<void> NetworkNamespace::add_bridge(int link, const std::string& name) {
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  request.link(link, IFF_UP).attribute(IFLA_IFNAME, name);
  const std::size_t about = request.open(IFLA_LINKINFO);
  request.attribute(IFLA_INFO_KIND, "bridge").close(about);
  return ask(request.finish(), "a bridge");
}

Result<void> NetworkNamespace::add_cable(int port, int bridge, const NetworkNamespace& other, int link_there) {
  Request request(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  request.link(port, 0).attribute(IFLA_IFNAME, "port" + std::to_string(port));
  request.number(IFLA_MASTER, static_cast<std::uint32_t>(bridge));
  const std::size_t about = request.open(IFLA_LINKINFO);
  request.attribute(IFLA_INFO_KIND, "veth");
  const std::size_t data = request.open(IFLA_INFO_DATA);
  const std::size_t peer = request.open(VETH_INFO_PEER);
  request.link(link_there, 0).attribute(IFLA_IFNAME, "eth0");
  request.number(IFLA_NET_NS_FD, static_cast<std::uint32_t>(other.fd()));
  request.close(peer);
  request.close(data);
  request.close(about);
  return ask(request.finish(), "a cable (veth)");
}

Result<void> NetworkNamespace::add_address(int link, const std::string& ipv4, int prefix_bits) {
  in_addr address{};
  RAYX_CHECK(::inet_pton(AF_INET, ipv4.c_str(), &address) == 1, "not an address:", ipv4);
  const std::string_view bytes(reinterpret_cast<const char*>(&address), sizeof(address));
  ifaddrmsg about{};
  about.ifa_family = AF_INET;
  about.ifa_prefixlen = static_cast<std::uint8_t>(prefix_bits);
  about.ifa_index = static_cast<std::uint32_t>(link);
  Request request(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  request.add(about).attribute(IFA_LOCAL, bytes).attribute(IFA_ADDRESS, bytes);
  return ask(request.finish(), "an address");
}

Result<void> NetworkNamespace::set_up(int link, bool is_up) {
  return ask(Request(RTM_NEWLINK, 0).link(link, is_up ? IFF_UP : 0).finish(), "a link's state");
}

bool NetworkNamespace::is_running(int link) {
  send(Request(RTM_GETLINK, 0).link(link, 0).finish());
  // The link, and then that this was all.
  ifinfomsg about{};
  for (bool is_over = false; !is_over;) {
    alignas(nlmsghdr) char answer[16 << 10];
    ssize_t bytes = ::recv(netlink_.get(), answer, sizeof(answer), 0);
    RAYX_CHECK(bytes > 0, "netlink gave no answer:", std::strerror(errno));
    for (auto* header = reinterpret_cast<nlmsghdr*>(answer); NLMSG_OK(header, static_cast<std::uint32_t>(bytes));
         header = NLMSG_NEXT(header, bytes)) {
      is_over = is_over || header->nlmsg_type == NLMSG_ERROR;
      if (header->nlmsg_type == RTM_NEWLINK) std::memcpy(&about, NLMSG_DATA(header), sizeof(about));
    }
  }
  return (about.ifi_flags & IFF_RUNNING) != 0;
}

void NetworkNamespace::send(const std::string& message) const {
  const ssize_t sent = ::send(netlink_.get(), message.data(), message.size(), 0);
  RAYX_CHECK(sent == static_cast<ssize_t>(message.size()), "netlink takes no request:", std::strerror(errno));
}

Result<void> NetworkNamespace::ask(const std::string& message, const char* what) {
  send(message);
  struct {
    nlmsghdr header;
    nlmsgerr error;
    char request[1024];  // which the kernel repeats
  } answer{};
  const ssize_t bytes = ::recv(netlink_.get(), &answer, sizeof(answer), MSG_TRUNC);
  RAYX_CHECK(bytes >= static_cast<ssize_t>(sizeof(answer.header) + sizeof(answer.error)) &&
                 answer.header.nlmsg_type == NLMSG_ERROR,
             "netlink gave no answer that is known:", bytes, answer.header.nlmsg_type);
  if (answer.error.error == 0) return {};
  return refusal(-answer.error.error, what);
}

}  // namespace rayx::kit

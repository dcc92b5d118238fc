#include "process/message.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "base/check.hpp"

namespace rayx::process {

int send_message(int socket, const MessageHeader& header, std::string_view payload, std::span<const int> fds,
                 bool dont_wait) {
  RAYX_CHECK(sizeof(header) + payload.size() <= kMessageBytesMax, "message too long", payload.size());
  RAYX_CHECK(fds.size() <= kPassedFdsMax, "too many descriptors", fds.size());
  iovec parts[2] = {{const_cast<MessageHeader*>(&header), sizeof(header)},
                    {const_cast<char*>(payload.data()), payload.size()}};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kPassedFdsMax)] = {};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  if (!fds.empty()) {
    message.msg_control = control;
    message.msg_controllen = CMSG_SPACE(fds.size_bytes());
    cmsghdr* head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(fds.size_bytes());
    std::memcpy(CMSG_DATA(head), fds.data(), fds.size_bytes());
  }
  for (;;) {
    if (::sendmsg(socket, &message, MSG_NOSIGNAL | (dont_wait ? MSG_DONTWAIT : 0)) >= 0) return 0;
    if (errno != EINTR) return errno;
  }
}

MessageReader::Status MessageReader::receive(int socket, bool dont_wait, Message& out) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kPassedFdsMax)];
  iovec part{buffer_.data(), buffer_.size()};
  msghdr message{};
  message.msg_iov = &part;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t bytes;
  do {
    bytes = ::recvmsg(socket, &message, MSG_CMSG_CLOEXEC | (dont_wait ? MSG_DONTWAIT : 0));
  } while (bytes < 0 && errno == EINTR);
  if (bytes < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Status::kNothing;
  if (bytes <= 0) return Status::kClosed;

  out.fds.clear();
  for (cmsghdr* head = CMSG_FIRSTHDR(&message); head != nullptr; head = CMSG_NXTHDR(&message, head)) {
    if (head->cmsg_level != SOL_SOCKET || head->cmsg_type != SCM_RIGHTS) continue;
    const std::size_t count = (head->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (std::size_t i = 0; i < count; ++i) {
      int fd;
      std::memcpy(&fd, CMSG_DATA(head) + i * sizeof(int), sizeof(fd));
      out.fds.emplace_back(fd);
    }
  }
  out.fds_lost = (message.msg_flags & MSG_CTRUNC) != 0;
  if (static_cast<std::size_t>(bytes) < sizeof(MessageHeader) || (message.msg_flags & MSG_TRUNC) != 0) {
    return Status::kClosed;
  }
  std::memcpy(&out.header, buffer_.data(), sizeof(MessageHeader));
  out.payload = {buffer_.data() + sizeof(MessageHeader), static_cast<std::size_t>(bytes) - sizeof(MessageHeader)};
  if (std::uint64_t{out.header.env_bytes} + out.header.config_bytes > out.payload.size()) return Status::kClosed;
  return Status::kMessage;
}

}  // namespace rayx::process

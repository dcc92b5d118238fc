// The bytes between a driver and its fork server: one SEQPACKET message each, a fixed header, then payload, then descriptors.
// Both ends are the same binary where a driver starts its own file. A node starts programs that were built elsewhere: the first
// message, whose layout never changes, carries the number of the protocol, and the program ends with a message if it has another one.
#pragma once

#include <sys/types.h>

#include <array>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"

namespace rayx::process {

inline constexpr std::uint32_t kProtocol =
    1;  // one more with each change of this file, or of what is said in a worker's start
inline constexpr std::size_t kConfigBytesMax = 64 * 1024;    // of one worker's configuration, and of its environment
inline constexpr std::size_t kMessageBytesMax = 160 * 1024;  // below the default send buffer of a unix socket
inline constexpr std::size_t kPassedFdsMax = 16;             // descriptors passed to one worker

enum class MessageKind : std::uint32_t {
  kServe = 1,    // driver -> child, sent before the exec: be a fork server. value = nonce, number = oom_score_adj
  kWork,         // fork server -> exec'd worker, sent before the exec: be a worker. value = nonce
  kReady,        // fork server -> driver: static constructors have run. number = 1 if workers are forked, 0 if exec'd
  kSpawn,        // driver -> fork server (-> exec'd worker). payload = environment, then config
  kStarted,      // fork server -> driver: descriptors are stdout, stderr and, if the kernel has it, the pidfd
  kSpawnFailed,  // fork server -> driver: number = errno, value = SpawnStep
  kKill,         // driver -> fork server: where there is no pidfd
  kExited,       // fork server -> driver: number = si_status, value = si_code, flag = 1 if it never reached its entry
  kShutdown,     // driver -> fork server: value = milliseconds that workers may take
  kEntered,      // exec'd worker -> fork server: static constructors have run
};

enum class SpawnStep : std::uint64_t { kReceive = 1, kPipes, kFork, kExec };

struct MessageHeader {
  MessageKind kind{};
  std::uint32_t flag = 0;
  std::uint64_t slot = 0;
  std::uint64_t value = 0;
  std::int32_t number = 0;
  std::int32_t pid = 0;
  std::uint32_t env_bytes = 0;
  std::uint32_t config_bytes = 0;
  std::int32_t omp_threads = 0;
  std::uint32_t protocol = 0;  // kServe and kWork: kProtocol
};

struct Message {
  MessageHeader header;
  std::string_view payload;  // into the receiver's buffer
  std::vector<base::UniqueFd> fds;
  bool fds_lost = false;  // the receiver had no free descriptors for all of them (EMFILE)
};

// Sends one message. Returns 0 or errno (EAGAIN on a full socket if `dont_wait`).
int send_message(int socket, const MessageHeader& header, std::string_view payload, std::span<const int> fds,
                 bool dont_wait);

class MessageReader {
 public:
  enum class Status { kMessage, kNothing, kClosed };
  // kNothing only if `dont_wait`. Any error of the socket counts as closed: there is nobody to talk to any more.
  Status receive(int socket, bool dont_wait, Message& out);

 private:
  std::vector<char> buffer_ = std::vector<char>(kMessageBytesMax);
};

}  // namespace rayx::process

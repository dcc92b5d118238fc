// What a process and the runtime of its node say to each other about keys and channels: arguments and results of ClusterQuestions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <rayx/error_code.hpp>

namespace rayx {

// What somebody has published, as a reader of the channel gets it.
struct Message {
  std::string payload;
  // So many messages between the one before and this one did not arrive: the reader was too slow, or the link to the cluster's head
  // broken. kMissedUnknown: the head was started again, and nobody knows.
  std::uint64_t missed = 0;
};
inline constexpr std::uint64_t kMissedUnknown = UINT64_MAX;

namespace detail {

struct KeyWords {
  std::string name_space;
  std::string key;    // of kListKeys: the prefix
  std::string value;  // of kListKeys: keys behind this one
  bool may_overwrite = true;
};
struct ChannelWords {
  std::string channel;
  std::string payload;
};
struct ReadWords {
  std::uint64_t reader = 0;
  std::uint64_t seen = 0;  // so many have arrived
};

struct ClusterAnswer {
  ErrorCode code = ErrorCode::kOk;
  std::string message;             // unless kOk
  bool is_taken = false;           // instead of kOk: the key is there
  std::string value;               // of kGetKey
  std::vector<std::string> names;  // of kListKeys
  bool is_cut = false;             // more lie behind the last one
};
struct News {
  std::uint64_t first = 0;  // the number of the first message, of those that the reader was to get
  std::vector<Message> messages;
};

}  // namespace detail
}  // namespace rayx

// The nodes that this user has started on this machine: a file each, which `rayx stop` reads.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace rayx_cli {

// The file of this process, as long as it lives.
class NodeFile {
 public:
  explicit NodeFile(const std::string& address);
  ~NodeFile();
  NodeFile(const NodeFile&) = delete;
  NodeFile& operator=(const NodeFile&) = delete;

 private:
  std::string path_;
};

struct RunningNode {
  pid_t pid = 0;
  std::string address;
};
// Files of processes that are gone are removed. A process that has the number of a dead node by chance is not one: its start time
// differs.
std::vector<RunningNode> running_nodes();

}  // namespace rayx_cli

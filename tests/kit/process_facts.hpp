// What /proc says about a process that a test wants to find unharmed: what it holds, and on what it listens.
#pragma once

#include <sys/types.h>

#include <cstddef>
#include <string>
#include <vector>

namespace rayx::kit {

std::size_t count_descriptors(pid_t pid);
std::size_t count_sockets(
    pid_t pid);  // of the descriptors those that lead to somebody; others come and go with workers
std::size_t resident_bytes(pid_t pid);
// "host:port" of every TCP port that one of the processes listens on; IPv6 addresses as 32 digits in brackets. All of them are in the
// same network.
std::vector<std::string> list_listeners(const std::vector<pid_t>& processes);

}  // namespace rayx::kit

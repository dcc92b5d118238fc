// Where a test's sockets are: "host:port" in numbers, IPv4.
#pragma once

#include <netinet/in.h>

#include <string>

#include "base/unique_fd.hpp"

namespace rayx::kit {

sockaddr_in to_sockaddr(const std::string& address);
// A listener on a port that is free; its address is written there.
base::UniqueFd listen_on(const std::string& host, int backlog, std::string& address);

}  // namespace rayx::kit

// Hosts on one machine: networks of their own whose cables lead to one switch, for tests with real nodes on real links. Nothing of
// them has a name, so a test that is killed leaves nothing.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kit/network_namespace.hpp"
#include "rayx/result.hpp"

namespace rayx::kit {

class TestHosts {
 public:
  // kUnsupported, with the reason to skip the test for, where this process may not have networks of its own.
  static Result<std::unique_ptr<TestHosts>> make(int count);

  std::string address(int host) const;  // "10.77.0.1" and so on
  // Where programs of this host run: kit::Program::Options::network.
  int network(int host) const { return hosts_.at(static_cast<std::size_t>(host)).fd(); }

  // Pulls the host's cable out of the switch: what is sent is lost, nobody is told, and TCP tries again for minutes.
  void cut(int host);
  void mend(int host);  // and waits until it carries again

 private:
  explicit TestHosts(NetworkNamespace network) : switch_(std::move(network)) {}
  Result<void> add_host();

  NetworkNamespace switch_;
  std::vector<NetworkNamespace> hosts_;
};

}  // namespace rayx::kit

#include "kit/test_hosts.hpp"

#include <utility>

#include "base/check.hpp"
#include "kit/eventually.hpp"

namespace rayx::kit {
namespace {

constexpr int kBridge = 2;    // of the switch
constexpr int kEthernet = 2;  // of each host
constexpr int kPrefixBits = 24;
constexpr int kHostsMax = 100;

int port_of(int host) { return kBridge + 1 + host; }

void require(const Result<void>& done) { RAYX_CHECK(done.has_value(), "a test's host:", done.error().message); }

}  // namespace

Result<std::unique_ptr<TestHosts>> TestHosts::make(int count) {
  RAYX_CHECK(count > 0 && count <= kHostsMax, "so many hosts have no addresses here", count);
  Result<NetworkNamespace> network = NetworkNamespace::make();
  if (!network) return network.error();
  std::unique_ptr<TestHosts> hosts(new TestHosts(std::move(*network)));
  if (const Result<void> made = hosts->switch_.add_bridge(kBridge, "switch"); !made) return made.error();
  for (int i = 0; i < count; ++i) {
    if (const Result<void> added = hosts->add_host(); !added) return added.error();
  }
  return hosts;
}

Result<void> TestHosts::add_host() {
  const int host = static_cast<int>(hosts_.size());
  Result<NetworkNamespace> made = NetworkNamespace::make();
  if (!made) return made.error();
  hosts_.push_back(std::move(*made));
  NetworkNamespace& network = hosts_.back();
  if (Result<void> cable = switch_.add_cable(port_of(host), kBridge, network, kEthernet); !cable) return cable;
  if (Result<void> named = network.add_address(kEthernet, address(host), kPrefixBits); !named) return named;
  for (const int link : {NetworkNamespace::kLoopback, kEthernet}) {
    if (Result<void> up = network.set_up(link, true); !up) return up;
  }
  return switch_.set_up(port_of(host), true);
}

std::string TestHosts::address(int host) const { return "10.77.0." + std::to_string(host + 1); }

void TestHosts::cut(int host) { require(switch_.set_up(port_of(host), false)); }

void TestHosts::mend(int host) {
  require(switch_.set_up(port_of(host), true));
  RAYX_CHECK(eventually([&] { return hosts_[static_cast<std::size_t>(host)].is_running(kEthernet); }),
             "a cable that was put back carries nothing", host);
}

}  // namespace rayx::kit

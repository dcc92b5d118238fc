// What a head tells whoever asks how the cluster is: one frame, and the link is closed.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "registry/head.hpp"
#include "wire/link.hpp"

namespace rayx::host {

inline constexpr const char* kStatusHello = "rayx status 2";

struct ClusterReport {
  struct Actor {
    base::ActorId actor;
    registry::ActorPhase phase = registry::ActorPhase::kPending;
    std::uint32_t restarts = 0;
    base::NodeId node;
    base::JobId job;
    std::string name_space;
    std::string name;
    bool is_feasible = true;
    bool is_detached = false;
  };
  std::uint64_t cluster = 0;
  std::uint64_t epoch = 0;
  std::vector<registry::NodeView> nodes;  // and drivers, and clients
  std::vector<registry::Demand> queued;   // what waits at all of them
  std::vector<registry::JobInfo> jobs;
  std::uint64_t actors_total = 0;  // that are not dead
  std::vector<Actor> actors;       // the first kActorsMax of them
  static constexpr std::size_t kActorsMax = 10'000;
};

ClusterReport make_report(const registry::Head& head);
void send_report(const registry::Head& head, std::unique_ptr<wire::Link> link);
Result<ClusterReport> decode_report(std::span<const std::byte> bytes);

// Asks the head at `address`. Not on a loop's thread; waits no longer than the time-out.
Result<ClusterReport> ask_for_report(const wire::Endpoint& head, const wire::Token& token, wire::TlsPolicy tls,
                                     std::chrono::milliseconds timeout);

}  // namespace rayx::host

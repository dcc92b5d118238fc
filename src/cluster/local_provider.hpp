// LocalProvider: nodes as processes of this machine, each this program started again. For one thread.
#pragma once

#include <sys/types.h>

#include <map>
#include <string>

#include <rayx/cluster_provider.hpp>

#include "base/clock.hpp"
#include "base/unique_fd.hpp"

namespace rayx::cluster {

class LocalProvider final : public ClusterProvider {
 public:
  explicit LocalProvider(const base::Clock& clock) : clock_(clock) {}
  // Ends what still runs: the nodes' inputs close.
  ~LocalProvider() override;
  LocalProvider(const LocalProvider&) = delete;
  LocalProvider& operator=(const LocalProvider&) = delete;

  std::string name() const override { return "local"; }
  ProviderAbilities abilities() const override { return {.has_capacity = false, .has_logs = true}; }
  Result<NodeSubmission> submit(const NodeRequest& request) override;
  Result<NodeStatus> status(const std::string& id) override;
  // SIGTERM, and SIGKILL if it still runs kKillPatience later, when its status is asked for.
  Result<void> kill(const std::string& id) override;
  Result<std::string> logs(const std::string& id) override;
  void forget(const std::string& id) override;

  static constexpr base::TimeNs kKillPatienceNs = 8'000'000'000;
  static constexpr std::size_t kLogBytesMax = 1 << 20;  // of each node; then it begins anew

 private:
  struct Process {
    pid_t pid = -1;  // -1: it was reaped
    base::UniqueFd input;
    base::UniqueFd log;
    base::TimeNs killed_at = -1;
    std::string how_it_ended;
  };
  void look(Process& process);
  static std::string tail_of(const Process& process, std::size_t bytes_max);

  const base::Clock& clock_;
  // By "pid.start": numbers of processes are used again. Those that have ended stay until they are forgotten.
  std::map<std::string, Process> processes_;
  std::uint64_t started_ = 0;
};

}  // namespace rayx::cluster

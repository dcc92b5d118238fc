// The sites of one job in this process: the driver's, without CPUs, and others with workers, joined by pipes that carry frames as
// the network does, and that can be cut.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.hpp"
#include "base/cluster_ids.hpp"

namespace rayx::node {
class SharedCpus;
}

namespace rayx::relay::test {

class Sites {
 public:
  struct Options {
    int others = 1;
    int cpus = 2;  // of each of them
    // There is a head, which places actors, and sites get a link to each other when they need one; else to the driver's only.
    bool is_mesh = false;
    bool are_apart = false;                 // of a mesh: the others cannot reach each other
    std::vector<base::Labels> labels = {};  // of the others, the first one's first
    std::uint64_t store_bytes = 256u << 20;
    std::uint64_t driver_store_bytes = 0;  // 0: as the others
    std::chrono::milliseconds store_timeout{10'000};
    // Not 0: frames take their time, and those that wait for a stream are overtaken, all by this seed.
    std::uint64_t delay_seed = 0;
    std::optional<base::TimeNs> patience_ns = {};        // see relay/choice.cc
    std::shared_ptr<node::SharedCpus> shared_cpus = {};  // of the first of the others
  };
  Sites() : Sites(Options()) {}
  explicit Sites(const Options& options);
  ~Sites();
  Sites(const Sites&) = delete;
  Sites& operator=(const Sites&) = delete;

  // Joins another site with workers.
  void add_site(int cpus);
  // As if the host of that site (from 1 on) were gone.
  void cut(std::size_t site);
  // Of a mesh: the site is drained.
  void drain(std::size_t site);
  // The link between two sites breaks, and there is another one at once.
  void relink(std::size_t from, std::size_t to);
  // Of a site, 0 is the driver's: objects that others may use, and objects of others that it knows.
  std::size_t exports(std::size_t site);
  std::size_t proxies(std::size_t site);
  std::size_t actors(std::size_t site);  // that live elsewhere and have handles here, or the other way round
  std::size_t size() const;
  // No site that is not cut off knows an object of another one any more. Waits for what is on its way.
  void wait_until_nothing_is_shared();
  // Units of CPUs that the others have for the job, as the driver's site knows.
  std::uint64_t units_for_job();
  // Bytes of the site's store that are in use.
  std::uint64_t used_bytes(std::size_t site);
  // Bytes of large values that it has sent.
  std::uint64_t sent_bytes(std::size_t site);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace rayx::relay::test

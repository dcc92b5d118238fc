// Two sites of one job in this process: the driver's, without CPUs, and another one with workers, joined by a pipe that carries
// frames as the network does, and that can be cut.
#pragma once

#include <cstddef>
#include <memory>

namespace rayx::relay::test {

class TwoSites {
 public:
  explicit TwoSites(int cpus_there = 2);
  ~TwoSites();

  // Joins another site with workers to the driver's.
  void add_site(int cpus);
  // As if the host of that site were gone.
  void cut(std::size_t site);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace rayx::relay::test

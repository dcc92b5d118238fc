// A thread of its own for what blocks: commits of the head's batches to a disk::PairFile. What comes while the disk works is committed
// together: one fsync for all of it.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "disk/pair_file.hpp"

namespace rayx::head {

class DiskWriter {
 public:
  // `durable(batch)`: this one and all before it are; `trouble(message)`: the disk refuses, and it is tried again until it does not.
  // Both on the writer's thread, and none after the destructor.
  DiskWriter(disk::PairFile file, std::function<void(std::uint64_t batch)> durable,
             std::function<void(const std::string&)> trouble);
  // What was posted and can be written is written.
  ~DiskWriter();
  DiskWriter(const DiskWriter&) = delete;
  DiskWriter& operator=(const DiskWriter&) = delete;

  // Batches come in the order of their numbers. Any thread. What waits is bounded by who posts: the head holds everything that it
  // would say until the batch is durable.
  void post(std::uint64_t batch, std::vector<disk::Change> changes);

 private:
  struct Batch {
    std::uint64_t number = 0;
    std::vector<disk::Change> changes;
  };
  void run();

  disk::PairFile file_;
  const std::function<void(std::uint64_t)> durable_;
  const std::function<void(const std::string&)> trouble_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Batch> waiting_;
  bool is_ending_ = false;
  std::thread thread_;
};

}  // namespace rayx::head

#include "head/disk_writer.hpp"

#include <chrono>
#include <iterator>
#include <utility>

namespace rayx::head {
namespace {

constexpr std::chrono::seconds kRetryPause{1};

}  // namespace

DiskWriter::DiskWriter(disk::PairFile file, std::function<void(std::uint64_t)> durable,
                       std::function<void(const std::string&)> trouble)
    : file_(std::move(file)), durable_(std::move(durable)), trouble_(std::move(trouble)), thread_([this] { run(); }) {}

DiskWriter::~DiskWriter() {
  {
    const std::lock_guard lock(mutex_);
    is_ending_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

void DiskWriter::post(std::uint64_t batch, std::vector<disk::Change> changes) {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back({batch, std::move(changes)});
  }
  changed_.notify_one();
}

void DiskWriter::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return is_ending_ || !waiting_.empty(); });
    if (waiting_.empty()) return;
    std::deque<Batch> batches = std::exchange(waiting_, {});
    lock.unlock();
    std::vector<disk::Change> all;
    for (Batch& batch : batches)
      all.insert(all.end(), std::make_move_iterator(batch.changes.begin()),
                 std::make_move_iterator(batch.changes.end()));
    Result<void> committed = file_.commit(all);
    lock.lock();
    bool is_told = false;
    while (!committed && !is_ending_) {
      lock.unlock();
      if (!std::exchange(is_told, true))
        trouble_(committed.error().message +
                 ". Nothing new is decided until it can be written; it is tried every second");
      lock.lock();
      changed_.wait_for(lock, kRetryPause, [this] { return is_ending_; });
      lock.unlock();
      committed = file_.commit(all);
      lock.lock();
    }
    if (!committed) return;
    lock.unlock();
    durable_(batches.back().number);
    lock.lock();
  }
}

}  // namespace rayx::head

// A worker's source of memory: it asks the node.
#pragma once

#include <string>

#include "shm/machine_limits.hpp"
#include "worker/memory_source.hpp"
#include "worker/node_asker.hpp"

namespace rayx::worker {

class AskedMemory final : public MemorySource {
 public:
  explicit AskedMemory(NodeAsker& node) : node_(node) {}

  Result<LeasedMemory> lease_extent(std::uint64_t bytes, bool may_wait) override {
    return read(node_.ask(shm::NodeQuestion::kLeaseExtent, bytes, may_wait ? 1 : 0), bytes);
  }
  Result<LeasedMemory> lease_slab(bool may_wait) override {
    return read(node_.ask(shm::NodeQuestion::kLeaseSlab, 0, may_wait ? 1 : 0), shm::kSlabBytes);
  }
  void release(shm::Offset offset) override { node_.tell(shm::NodeQuestion::kRelease, offset); }

 private:
  static Result<LeasedMemory> read(const NodeAsker::Answer& answer, std::uint64_t bytes) {
    if (answer.answer == shm::NodeAnswer::kOk) return LeasedMemory{answer.value, answer.serial};
    if (answer.answer == shm::NodeAnswer::kShuttingDown)
      return Error{ErrorCode::kShuttingDown, "rayx: the runtime is shutting down"};
    const std::string others =
        answer.serial == 0 ? "" : " (" + shm::bytes_text(answer.serial) + " by other programs on this node)";
    return Error{ErrorCode::kStoreFull, "rayx: the object store is full: " + shm::bytes_text(bytes) +
                                            " were asked for, " + shm::bytes_text(answer.value) + " are in use" +
                                            others + ", and no room came free within Config::store_timeout"};
  }

  NodeAsker& node_;
};

}  // namespace rayx::worker

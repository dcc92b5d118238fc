// Memory for a client that lives in the process of its node: it asks the node's books there, with no message and no waiting for
// the node's thread.
#pragma once

#include <chrono>
#include <cstdint>

#include "base/check.hpp"
#include "base/clock.hpp"
#include "node/node.hpp"
#include "worker/memory_source.hpp"

namespace rayx::relay {

class DeskMemory final : public worker::MemorySource {
 public:
  // `lessee`: the client's process slot.
  DeskMemory(node::Node& node, std::uint32_t lessee, std::chrono::nanoseconds timeout)
      : node_(node), lessee_(lessee), timeout_(timeout) {}

  Result<worker::LeasedMemory> lease_extent(std::uint64_t bytes, bool may_wait) override {
    return lease(bytes, false, may_wait);
  }
  Result<worker::LeasedMemory> lease_slab(bool may_wait) override { return lease(shm::kSlabBytes, true, may_wait); }
  void release(shm::Offset offset) override {
    bool wake_node = false;
    [[maybe_unused]] const bool known = node_.desk().release(offset, wake_node);
    RAYX_DCHECK(known, "memory is released that was not leased", offset);
    if (wake_node) node_.ring();
  }

 private:
  Result<worker::LeasedMemory> lease(std::uint64_t bytes, bool is_slab, bool may_wait) {
    store::LeaseRequest request;
    request.lessee = lessee_;
    request.bytes = bytes;
    request.is_slab = is_slab;
    const base::TimeNs now = base::SteadyClock().now_ns();
    request.deadline_ns = may_wait ? base::deadline_ns(now, timeout_) : now;
    Result<store::Lease> lease = node_.desk().lease(request);
    if (!lease) return std::move(lease).error();
    return worker::LeasedMemory{lease->extent.offset, lease->serial};
  }

  node::Node& node_;
  const std::uint32_t lessee_;
  const std::chrono::nanoseconds timeout_;
};

}  // namespace rayx::relay

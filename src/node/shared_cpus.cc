#include "node/shared_cpus.hpp"

#include <utility>

namespace rayx::node {

SharedCpus::Member::Member(SharedCpus& cpus, std::function<void()> ring) : cpus_(cpus), ring_(std::move(ring)) {
  const std::lock_guard lock(cpus_.mutex_);
  number_ = ++cpus_.last_number_;
  cpus_.members_.emplace(number_, this);
  cpus_.shares_.join(number_, cpus_.clock_.now_ns());
  cpus_.ring_called();
}

SharedCpus::Member::~Member() {
  const std::lock_guard lock(cpus_.mutex_);
  cpus_.members_.erase(number_);
  cpus_.shares_.leave(number_, cpus_.clock_.now_ns());
  cpus_.ring_called();
}

sched::Share SharedCpus::Member::report(const sched::Wish& wish, base::TimeNs now_ns) {
  const std::lock_guard lock(cpus_.mutex_);
  is_called_.store(false, std::memory_order_relaxed);
  const sched::Share share = cpus_.shares_.report(number_, wish, now_ns);
  cpus_.ring_called();
  return share;
}

void SharedCpus::ring_called() {
  for (const sched::JobNumber number : shares_.take_called()) {
    Member& member = *members_.at(number);
    member.is_called_.store(true, std::memory_order_release);
    member.ring_();
  }
}

}  // namespace rayx::node

#include "node/memory_desk.hpp"

#include <chrono>

namespace rayx::node {

void MemoryDesk::keep_local(std::vector<store::LeaseAnswer>& out) {
  bool any = false;
  std::erase_if(out, [&](const store::LeaseAnswer& answer) {
    if ((answer.ticket & kLocalTicket) == 0) return false;
    local_answers_.emplace(answer.ticket, answer);
    return any = true;
  });
  if (any) answered_.notify_all();
}

Result<store::Lease> MemoryDesk::lease(store::LeaseRequest request) {
  std::unique_lock lock(mutex_);
  request.ticket = kLocalTicket | next_ticket_++;
  std::vector<store::LeaseAnswer> out;
  books_.request(request, clock_.now_ns(), out);
  keep_local(out);
  answers_.insert(answers_.end(), out.begin(), out.end());
  for (;;) {
    const auto answer = local_answers_.find(request.ticket);
    if (answer != local_answers_.end()) {
      const store::LeaseAnswer found = answer->second;
      local_answers_.erase(answer);
      if (found.outcome == store::LeaseOutcome::kGranted) return found.lease;
      return Error{ErrorCode::kStoreFull, books_.full_text(request.bytes)};
    }
    if (is_closed_)
      return Error{ErrorCode::kShuttingDown, "rayx: the runtime was shut down while a writer waited for memory"};
    if (request.deadline_ns == base::kNever) {
      answered_.wait(lock);
      continue;
    }
    const base::TimeNs left_ns = request.deadline_ns - clock_.now_ns();
    if (left_ns > 0) {
      answered_.wait_for(lock, std::chrono::nanoseconds(left_ns));
      continue;
    }
    out.clear();
    books_.expire(clock_.now_ns(), out);
    keep_local(out);
    answers_.insert(answers_.end(), out.begin(), out.end());
  }
}

void MemoryDesk::close() {
  std::lock_guard lock(mutex_);
  is_closed_ = true;
  answered_.notify_all();
}

bool MemoryDesk::release(shm::Offset offset, bool& wake_node) {
  std::lock_guard lock(mutex_);
  std::vector<store::LeaseAnswer> out;
  const bool known = books_.release(offset, clock_.now_ns(), out);
  keep_local(out);
  wake_node = !out.empty();
  answers_.insert(answers_.end(), out.begin(), out.end());
  return known;
}

std::vector<store::LeaseAnswer> MemoryDesk::take_answers() {
  std::lock_guard lock(mutex_);
  std::vector<store::LeaseAnswer> out;
  books_.expire(clock_.now_ns(), out);
  keep_local(out);
  answers_.insert(answers_.end(), out.begin(), out.end());
  return std::exchange(answers_, {});
}

base::TimeNs MemoryDesk::next_deadline_ns() {
  std::lock_guard lock(mutex_);
  return books_.next_deadline_ns();
}

std::uint64_t MemoryDesk::leased_bytes() {
  std::lock_guard lock(mutex_);
  return books_.leased_bytes();
}

std::string MemoryDesk::full_text(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  return books_.full_text(bytes);
}

}  // namespace rayx::node

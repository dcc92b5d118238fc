#include "node/memory_desk.hpp"

#include <algorithm>
#include <chrono>

#include "shm/machine_limits.hpp"

namespace rayx::node {
namespace {

constexpr std::uint64_t kDropStep_bytes = 8u << 20;  // about 1 ms in which nobody else is served

}  // namespace

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
      return Error{ErrorCode::kStoreFull, books_.full_text(request.bytes) + text_of_others()};
    }
    if (is_closed_)
      return Error{ErrorCode::kShuttingDown, "rayx: the runtime was shut down while a writer waited for memory"};
    // Nobody tells when another job's claim is over, and the node's thread does not know that somebody waits here.
    const base::TimeNs look_again_ns = books_.waits_for_pages() ? store::kAskAgain_ns : base::kNever;
    if (look_again_ns != base::kNever) shared_->call();
    const base::TimeNs now_ns = clock_.now_ns();
    const base::TimeNs left_ns =
        request.deadline_ns == base::kNever ? look_again_ns : std::min(look_again_ns, request.deadline_ns - now_ns);
    if (left_ns == base::kNever) {
      answered_.wait(lock);
    } else if (left_ns > 0) {
      answered_.wait_for(lock, std::chrono::nanoseconds(left_ns));
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
  wake_node = !out.empty() || (shared_ != nullptr && shared_->is_short());
  answers_.insert(answers_.end(), out.begin(), out.end());
  return known;
}

void MemoryDesk::follow_others() {
  if (shared_ == nullptr) return;
  const bool is_called = shared_->is_called();
  if (is_called || shared_->is_short()) {
    for (std::uint64_t owed = shared_->owed(); owed != 0; owed = shared_->owed()) {
      const std::lock_guard lock(mutex_);
      if (books_.drop_unused(std::min(owed, kDropStep_bytes)) == 0) break;
    }
  }
  const std::lock_guard lock(mutex_);
  if (!books_.waits_for_pages() || (!is_called && clock_.now_ns() < ask_again_ns_)) return;
  std::vector<store::LeaseAnswer> out;
  books_.pages_came(clock_.now_ns(), out);
  keep_local(out);
  answers_.insert(answers_.end(), out.begin(), out.end());
  ask_again_ns_ = clock_.now_ns() + store::kAskAgain_ns;
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
  if (!answers_.empty()) return 0;  // of a burial, or by a thread of this process: nobody else brings them
  return std::min(books_.next_deadline_ns(), books_.waits_for_pages() ? ask_again_ns_ : base::kNever);
}

std::uint64_t MemoryDesk::leased_bytes() {
  std::lock_guard lock(mutex_);
  return books_.leased_bytes();
}

std::uint64_t MemoryDesk::used_bytes() {
  std::lock_guard lock(mutex_);
  if (shared_ == nullptr) return books_.leased_bytes();
  return books_.capacity_bytes() - std::min(books_.free_bytes(), books_.warm_free_bytes() + shared_->left());
}

// Of what fills the store that is not this job's, there is no word in the books.
std::string MemoryDesk::text_of_others() {
  const std::uint64_t bytes = used_by_others();
  return bytes == 0 ? "" : "; other programs on this node have " + shm::bytes_text(bytes) + " of its memory";
}

std::string MemoryDesk::full_text(std::uint64_t bytes) {
  std::lock_guard lock(mutex_);
  return books_.full_text(bytes) + text_of_others();
}

}  // namespace rayx::node

#include "api/local_nodes.hpp"

namespace rayx::detail {

LocalPool& LocalPool::instance() {
  static LocalPool* const pool = new LocalPool;
  return *pool;
}

LocalNode* LocalPool::take(std::uint32_t runtime) {
  const std::lock_guard lock(mutex_);
  LocalNode* node;
  if (free_.empty()) {
    node = &nodes_.emplace_back();
    node->index = static_cast<std::uint32_t>(nodes_.size() - 1);
  } else {
    node = free_.back();
    free_.pop_back();
  }
  node->cell.refs.store(1, std::memory_order_relaxed);
  node->cell.runtime = runtime;
  node->cell.record.store(&node->record, std::memory_order_relaxed);
  node->record.state.store(kRecordPending, std::memory_order_relaxed);
  node->record.generation = node->generation;
  node->record.size = 0;
  node->is_from_outside = false;
  return node;
}

void LocalPool::give_back(LocalNode* node) {
  const std::lock_guard lock(mutex_);
  ++node->generation;
  node->cell.runtime = 0;
  node->record.state.store(kRecordFree, std::memory_order_relaxed);
  free_.push_back(node);
}

LocalNode* LocalPool::find_and_count(std::uint32_t index, std::uint32_t generation, std::uint32_t runtime) {
  const std::lock_guard lock(mutex_);
  if (index >= nodes_.size()) return nullptr;
  LocalNode& node = nodes_[index];
  if (node.generation != generation || node.cell.runtime != runtime) return nullptr;
  node.cell.refs.fetch_add(1, std::memory_order_relaxed);
  return &node;
}

std::vector<LocalNode*> LocalPool::live(std::uint32_t runtime) {
  const std::lock_guard lock(mutex_);
  std::vector<LocalNode*> found;
  for (LocalNode& node : nodes_) {
    if (node.cell.runtime == runtime) found.push_back(&node);
  }
  return found;
}

}  // namespace rayx::detail

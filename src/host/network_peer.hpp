// A relay's peer over a link of the network: frames of any thread go to the loop's thread, many at a time.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "relay/peer.hpp"
#include "wire/link.hpp"

namespace rayx::host {

class NetworkPeer final : public relay::PeerLink, public std::enable_shared_from_this<NetworkPeer> {
 public:
  NetworkPeer(wire::Loop& loop, wire::Link& link) : loop_(loop), link_(&link) {}

  bool send(std::vector<std::byte> frame) override {
    const std::size_t size = frame.size();
    {
      const std::lock_guard lock(mutex_);
      if (is_closed_) return false;
      waiting_.push_back(std::move(frame));
      waiting_bytes_.fetch_add(size, std::memory_order_relaxed);
      if (std::exchange(is_posted_, true)) return true;
    }
    loop_.post([self = shared_from_this()] { self->hand_over(); });
    return true;
  }
  bool is_congested() const override {
    return waiting_bytes_.load(std::memory_order_relaxed) + queued_bytes_.load(std::memory_order_relaxed) >
           kCongestedBytes;
  }

  // Loop's thread.
  void became_writable() {
    queued_bytes_.store(link_ == nullptr ? 0 : link_->queued_bytes(), std::memory_order_relaxed);
  }
  void hand_over() {
    std::vector<std::vector<std::byte>> frames;
    {
      const std::lock_guard lock(mutex_);
      is_posted_ = false;
      frames.swap(waiting_);
    }
    for (const std::vector<std::byte>& frame : frames) {
      if (link_ == nullptr) return;
      link_->send(frame);
      waiting_bytes_.fetch_sub(frame.size(), std::memory_order_relaxed);
    }
    became_writable();
  }
  void close() {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    link_ = nullptr;
    waiting_.clear();
  }

 private:
  static constexpr std::size_t kCongestedBytes = 16u << 20;

  wire::Loop& loop_;
  wire::Link* link_;  // nullptr: closed. Loop's thread
  std::mutex mutex_;
  std::vector<std::vector<std::byte>> waiting_;
  bool is_posted_ = false;
  bool is_closed_ = false;
  std::atomic<std::size_t> waiting_bytes_{0};
  std::atomic<std::size_t> queued_bytes_{0};
};

}  // namespace rayx::host

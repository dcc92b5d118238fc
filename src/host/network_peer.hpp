// A relay's peer over a link of the network: frames of any thread go to the loop's thread, many at a time.
#pragma once

#include <algorithm>
#include <atomic>
#include <deque>
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

  bool send(std::vector<std::byte> frame) override { return send_after({}, std::move(frame)); }
  bool send_after(std::vector<relay::OutgoingValue> values, std::vector<std::byte> frame) override {
    std::size_t size = frame.size();
    for (const relay::OutgoingValue& value : values) size += value.bytes.size();
    {
      const std::lock_guard lock(mutex_);
      if (is_closed_) return false;
      waiting_.push_back({std::move(values), std::move(frame)});
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
    send_values();
    queued_bytes_.store(link_ == nullptr ? 0 : link_->queued_bytes(), std::memory_order_relaxed);
  }
  void hand_over() {
    std::vector<Item> items;
    {
      const std::lock_guard lock(mutex_);
      is_posted_ = false;
      items.swap(waiting_);
    }
    for (Item& item : items) {
      if (link_ == nullptr) return;
      if (item.values.empty()) {
        link_->send(item.frame);
        waiting_bytes_.fetch_sub(item.frame.size(), std::memory_order_relaxed);
        continue;
      }
      auto last = std::make_shared<Last>();
      last->missing = item.values.size();
      last->frame = std::move(item.frame);
      for (relay::OutgoingValue& value : item.values) values_.push_back({std::move(value), last, 0});
    }
    became_writable();
  }
  void close() {
    std::deque<Value> values = std::exchange(values_, {});  // let go of what they keep with no lock of ours
    std::vector<Item> items;
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    link_ = nullptr;
    items.swap(waiting_);
  }

 private:
  static constexpr std::size_t kCongestedBytes = 64u << 20;

  struct Item {
    std::vector<relay::OutgoingValue> values;
    std::vector<std::byte> frame;
  };
  // The frame that is sent when the last byte of its values has left.
  struct Last {
    std::size_t missing = 0;
    std::vector<std::byte> frame;
  };
  struct Value {
    relay::OutgoingValue value;
    std::shared_ptr<Last> last;
    std::uint64_t sent = 0;
  };

  void send_values() {
    while (link_ != nullptr && !values_.empty()) {
      Value& front = values_.front();
      const std::uint64_t left = front.value.bytes.size() - front.sent;
      const std::uint64_t bytes = std::min<std::uint64_t>(left, wire::kPayloadBytesMax);
      const bool is_last = bytes == left;
      const wire::Sent sent = link_->send_payload(
          front.value.stream, front.sent, front.value.bytes.subspan(front.sent, bytes),
          [self = shared_from_this(), last = is_last ? front.last : nullptr, bytes](bool was_sent) {
            self->chunk_is_out(last.get(), bytes, was_sent);
          },
          front.value.keep);
      if (sent == wire::Sent::kRefused || sent == wire::Sent::kClosed) return;
      front.sent += bytes;
      if (is_last) values_.pop_front();
      if (sent == wire::Sent::kPause) return;
    }
  }
  void chunk_is_out(Last* last, std::uint64_t bytes, bool was_sent) {
    waiting_bytes_.fetch_sub(bytes, std::memory_order_relaxed);
    if (last == nullptr || --last->missing != 0 || !was_sent || link_ == nullptr) return;
    link_->send(last->frame);
    waiting_bytes_.fetch_sub(last->frame.size(), std::memory_order_relaxed);
  }

  wire::Loop& loop_;
  wire::Link* link_;  // nullptr: closed. Loop's thread
  std::mutex mutex_;
  std::vector<Item> waiting_;
  std::deque<Value> values_;  // loop's thread
  bool is_posted_ = false;
  bool is_closed_ = false;
  std::atomic<std::size_t> waiting_bytes_{0};
  std::atomic<std::size_t> queued_bytes_{0};
};

}  // namespace rayx::host

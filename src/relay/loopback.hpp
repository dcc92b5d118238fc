// A link of a relay to itself: an actor may live on the node that calls it through the relay, and is called like any other.
#pragma once

#include <algorithm>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "relay/relay.hpp"

namespace rayx::relay {

class Loopback final : public PeerLink {
 public:
  explicit Loopback(Relay& relay) : relay_(relay) {}

  void begin(PeerId me) { me_ = me; }
  bool is_congested() const override { return false; }
  bool send(std::vector<std::byte> frame) override { return send_after({}, std::move(frame)); }
  bool send_after(std::vector<OutgoingValue> values, std::vector<std::byte> frame) override {
    {
      const std::lock_guard lock(mutex_);
      items_.push_back({std::move(values), std::move(frame)});
    }
    relay_.wake();
    return true;
  }
  bool has_frames() const {
    const std::lock_guard lock(mutex_);
    return !items_.empty();
  }
  // The relay's own thread, without its lock. Whether there was anything.
  bool deliver() {
    std::vector<Item> items;
    {
      const std::lock_guard lock(mutex_);
      items.swap(items_);
    }
    for (Item& item : items) {
      for (const OutgoingValue& value : item.values) {
        const std::span<std::byte> place = relay_.place_for_value(me_, value.stream, 0, value.bytes.size());
        if (place.empty()) continue;
        std::memcpy(place.data(), value.bytes.data(), value.bytes.size());
        relay_.value_arrived(me_, value.stream, value.bytes.size());
      }
      (void)relay_.receive(me_, item.frame);
    }
    return !items.empty();
  }

 private:
  struct Item {
    std::vector<OutgoingValue> values;
    std::vector<std::byte> frame;
  };
  Relay& relay_;
  PeerId me_ = 0;
  mutable std::mutex mutex_;
  std::vector<Item> items_;
};

}  // namespace rayx::relay

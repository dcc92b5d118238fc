// The other end of a relay's link, and what is on its way there and back. All of it is guarded by the relay's books.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/cluster_ids.hpp"
#include "node/relay_news.hpp"
#include "relay/frames.hpp"
#include "sched/window.hpp"
#include "shm/layout.hpp"

namespace rayx::relay {

using PeerId = std::uint32_t;

// A value that crosses as a stream.
struct OutgoingValue {
  std::uint64_t stream;
  std::span<const std::byte> bytes;
  std::shared_ptr<void> keep;
};

// Carries frames to another relay, whole, in order, each once, or is closed. The network's, or a test's.
class PeerLink {
 public:
  virtual ~PeerLink() = default;
  // Any thread; never waits. False: the link is closed, and `remove_peer` follows.
  virtual bool send(std::vector<std::byte> frame) = 0;
  // Sends the values, each as a stream for which the other end has said that it has room, and then the frame. The bytes are read until
  // their `keep` goes.
  virtual bool send_after(std::vector<OutgoingValue> values, std::vector<std::byte> frame) = 0;
  // So much waits to be sent that no more is to be given, until `Relay::peer_is_writable`.
  virtual bool is_congested() const = 0;
};

struct Peer {
  PeerId id = 0;
  std::string name;   // for messages: "node 3 (host:port)"
  base::NodeId node;  // 0: it has not said it yet
  // Not 0: it is a site of another program, and knows this one by that. It makes and gets no tasks; actors are called.
  base::NodeId known_as;
  bool is_foreign() const { return static_cast<bool>(known_as); }
  // Of a foreign one: for each module of its program the place that it has in this one's, and one more; 0: it is not there.
  std::vector<std::uint32_t> modules;
  std::shared_ptr<PeerLink> link;
  std::uint64_t cpu_units = 0;  // that it gives to this job
  std::uint64_t cpu_units_of_node = 0;
  std::uint64_t idle_units = 0;  // see CapacityHead; so the next
  std::uint64_t lent_units = 0;
  std::uint64_t units_here = 0;                    // of its tasks that are on this node
  std::map<std::uint32_t, sched::Window> windows;  // by lane
  // What has come back and says nothing about a task's length: the store there is full.
  base::TimeNs closed_until_ns = 0;
  base::TimeNs full_since_ns = base::kNever;  // since then it has given tasks back for want of room, and answered none
  base::TimeNs recalls_at_ns = 0;             // it is asked for no task before
  bool is_retiring = false;                   // it gets no task any more
  bool is_store_full = false;                 // see OfferHead
  std::set<std::uint32_t> handed_out;         // rows of tasks that are there
  // Tasks of the peer that are done and wait because the link is congested: rows, and whether the worker died.
  std::deque<std::pair<std::uint32_t, bool>> done;
  // Values that have room here, and come or have come, and that no frame has asked for yet.
  struct Incoming {
    shm::Offset offset = shm::kNoOffset;
    std::uint64_t bytes = 0;
    std::uint64_t arrived = 0;
  };
  std::map<std::uint64_t, Incoming> incoming;
  std::uint64_t incoming_bytes = 0;
  std::size_t offers = 0;  // of the peer's that wait for room here
  // Frames that wait until the peer has room for their values, by the number of the offer.
  struct Offered {
    std::vector<OutgoingValue> values;
    std::vector<std::byte> frame;
    std::uint64_t task_bytes = 0;  // if the frame is a task
  };
  std::map<std::uint64_t, Offered> offered;
  std::uint64_t offered_task_bytes = 0;
  std::uint64_t next_offer = 1;
  std::uint64_t next_stream = 1;
  // Values that the peer has asked for, which are there and wait because the link is congested: keys of exports.
  std::deque<std::uint64_t> due;
  // In the order in which they are sent: a hold is given back behind everything that may name its object.
  FrameWriter calls;
  FrameWriter tasks;
  FrameWriter results;
  FrameWriter fetched;
  FrameWriter offering;
  FrameWriter admitted;
  FrameWriter lost;
  FrameWriter returned;
  FrameWriter given_up;
  FrameWriter fetches;
  FrameWriter elsewhere;
  FrameWriter copies_asked;
  FrameWriter copies;
  FrameWriter holds_asked;
  FrameWriter holds_answered;
  FrameWriter lent_back;
  FrameWriter actors_killed;
  FrameWriter actors_released;
  FrameWriter actors_gone;
  FrameWriter released;
  // For handles of actors inside what is being received.
  std::map<base::ActorId, node::LaneName> lanes;
};

}  // namespace rayx::relay

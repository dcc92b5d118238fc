// The relay of a job on one node: what crosses to and from other nodes goes through it. To its own node it is one more executor,
// which claims tasks of the lanes and completes their records when the answers come, and one more client, which submits what
// other nodes hand to it. docs/design/cluster.md has the whole picture.
//
// Threads: one of its own looks for tasks and for completions; the network's threads call receive, add_peer, remove_peer; the
// node's thread calls add_lane. Its books are the client's, under the client's lock.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "base/clock.hpp"
#include "relay/frames.hpp"
#include "relay/peer.hpp"
#include "shm/lane_puller.hpp"
#include "worker/client.hpp"

namespace rayx::relay {

struct RelayConfig {
  worker::ClientConfig client;
  std::shared_ptr<const shm::Arena> arena;  // the client's: what is being sent is read after the relay's end
  std::uint64_t cpu_units = 0;              // that this node gives to tasks of other nodes; said to every peer
};

class Relay final : public worker::Client {
 public:
  explicit Relay(const RelayConfig& config);
  ~Relay() override;

  // The node has made this process the relay of a class of tasks. Node's thread.
  void add_lane(std::uint32_t lane, std::uint64_t cpu_units);

  // A link to another relay of the job is open. Any thread; what follows about this peer, one thread at a time.
  PeerId add_peer(std::string name, std::shared_ptr<PeerLink> link);
  // A frame has come. A damaged frame is an error, and the caller closes the link.
  Result<void> receive(PeerId peer, std::span<const std::byte> frame);
  // A chunk of a value's stream: where its bytes go until `value_arrived`; nothing, if they are not wanted.
  std::span<std::byte> place_for_value(PeerId peer, std::uint64_t stream, std::uint64_t offset, std::uint64_t bytes);
  void value_arrived(PeerId peer, std::uint64_t stream, std::uint64_t bytes);
  // The link of a peer is not congested any more.
  void peer_is_writable(PeerId peer);
  // The link is closed: what was there is lost, as with a worker that died; what is here for it is dropped.
  void remove_peer(PeerId peer, const std::string& how);

  // The most CPUs that one task can have on any peer now.
  std::uint64_t largest_node_units();
  std::uint64_t total_units();  // that all peers give to the job
  void shutdown() noexcept override;

 private:
  using Part = FrameHandler::Part;
  class Incoming;
  // A task of this node that is at another one.
  struct SentRow {
    std::uint32_t life = 1;
    std::uint32_t owner = 0;
    std::uint32_t record = 0;
    std::uint32_t generation = 0;
    std::uint32_t lane = 0;
    PeerId peer = 0;
    bool is_used = false;
  };
  // A task of another node that is here.
  struct TakenRow {
    TaskNumber number = 0;
    PeerId peer = 0;
    worker::RefCell* cell = nullptr;
  };
  struct LaneServed {
    std::uint32_t lane;
    std::uint64_t cpu_units;
  };

  // relay_out.cc: tasks of this node
  void pull();
  bool take_turn();
  bool fail_queued();
  Peer* choose_peer(const LaneServed& lane, base::TimeNs now);
  void hand_out(const shm::LanePuller::Task& task, const LaneServed& lane, Peer& peer, base::TimeNs now);
  bool write_task(const shm::LanePuller::Task& task, const TaskHead& head, Peer& peer, std::string& problem);
  SentRow* find_sent(TaskNumber number, PeerId peer);
  void forget_sent(SentRow& row);
  void complete(const SentRow& row, std::span<const std::byte> value, bool is_error);
  void complete_with_block(const SentRow& row, const worker::BlockRef& block, bool is_error);
  void complete_without_memory(const SentRow& row, const std::string& why);
  std::shared_ptr<void> keep_while_sent(worker::RefCell* cell);
  void give_back(const SentRow& row, std::uint32_t flags);
  void tell_lost(const SentRow& row, std::span<const std::byte> error);
  void set_slots(Peer& peer);
  void sleep_until_work(shm::ProcessSlot& slot);
  void wake();
  static std::vector<std::byte> bytes_of(const detail::RemoteFailure& error);

  // relay_in.cc: tasks of other nodes
  worker::RefCell* submit(Peer& peer, const TaskHead& task, const WireValue& arguments, std::span<const Part> parts,
                          std::uint64_t tag, ReturnReason& reason);
  worker::RefCell* keep_value(Peer& peer, const WireValue& value, detail::Failure& failure);
  // The block of a value that has come, which is the caller's from then on. size 0: it has not, or there was no memory.
  worker::BlockRef take_value(Peer& peer, std::uint64_t stream);
  void send_done(Peer& peer);
  void answer(Peer& peer, const TakenRow& row, bool is_lost);
  void forget_taken(std::uint32_t index);
  void refuse(Peer& peer, TaskNumber number, ReturnReason reason);

  void flush(Peer& peer);
  void flush_all_peers();

  // What frames say. The first takes the lock itself, the others are called under it.
  void on_task(Peer& peer, const TaskHead& task, const WireValue& arguments, std::span<const Part> parts);
  void on_result(Peer& peer, const ResultHead& result, const WireValue& value);
  void on_value(Peer& peer, const ValueHead& value);
  void on_lost(Peer& peer, const ResultHead& result, std::span<const std::byte> error);
  void on_returned(Peer& peer, const ReturnHead& task);
  void on_capacity(Peer& peer, const CapacityHead& capacity);

  // Client's hooks, under its lock
  void task_is_done(std::uint64_t tag, worker::RefCell* cell, bool is_lost) override;
  void process_has_died(std::uint32_t slot) override;
  void after_turn() override { flush_all_peers(); }

  // What is being sent outlives the relay, and then lets go of nothing.
  struct Life {
    std::mutex mutex;
    Relay* relay;
  };
  const base::SteadyClock clock_;
  const std::shared_ptr<const shm::Arena> shared_arena_;
  const std::shared_ptr<Life> life_;
  const std::uint64_t cpu_units_;
  shm::LanePuller puller_;
  std::vector<LaneServed> lanes_served_;
  std::map<PeerId, std::unique_ptr<Peer>> peers_;
  std::atomic<std::uint32_t> peers_count_{0};
  PeerId next_peer_ = 1;
  bool had_peers_ = false;
  std::string last_loss_;  // what became of the peer that went last
  std::vector<SentRow> sent_;
  std::vector<std::uint32_t> free_sent_;
  std::vector<TakenRow> taken_;
  std::vector<std::uint32_t> free_taken_;
  std::atomic<bool> is_ending_{false};
  std::thread thread_;
};

}  // namespace rayx::relay

// The head's process when its own time counts: what comes in waits until it is done with what came before, each call takes as
// long as the head needs for it, and what it says leaves when that is over and the link of its host has taken what was said
// before. Its disk commits all that waits at once.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "../cluster/member_on_network.hpp"
#include "registry/head.hpp"
#include "report.hpp"

namespace rayx::sim {

// Outlives the head.
class Disk {
 public:
  Disk(Events& events, TimeNs commit_ns) : events_(events), commit_ns_(commit_ns) {}

  // `durable` is told of the last batch of each commit.
  void open(std::function<void(registry::BatchId)> durable) { durable_ = std::move(durable); }
  void write(registry::BatchId batch, std::vector<registry::Write> writes, Traffic& traffic);
  void lose();  // what is not committed: the process is dead

  const std::map<std::string, std::string>& pairs() const { return pairs_; }

 private:
  void commit(Traffic& traffic);

  Events& events_;
  const TimeNs commit_ns_;
  std::function<void(registry::BatchId)> durable_;
  std::uint64_t life_ = 0;
  bool is_busy_ = false;
  std::vector<registry::Write> waiting_;
  registry::BatchId last_ = 0;
  std::map<std::string, std::string> pairs_;
};

class HeadOnNetwork final : public EndpointOf<registry::ToHead>, private registry::HeadEffects {
 public:
  using HandedOut = std::function<void(registry::ActorId)>;
  // `traffic` is counted on.
  HeadOnNetwork(Events& events, Network& network, Disk& disk, Traffic& traffic, const Plan& plan, HandedOut handed_out);

  // Returns the CPU time that reading its records took.
  TimeNs begin(HostId host);
  // Its process is gone. Returns what the decider had allocated.
  std::size_t end();

  EndpointId me() const { return me_; }
  const registry::Head& head() const { return *head_; }

 private:
  struct Work {
    enum class Kind : std::uint8_t { kOpened, kClosed, kMessage, kPersisted, kTick };
    Kind kind;
    TimeNs since = 0;
    ConnectionId connection = 0;
    registry::BatchId batch = 0;
    std::optional<registry::ToHead> message;
  };
  struct Said {  // what a call has said, in its order
    ConnectionId to = 0;
    ToMemberPtr message;  // nothing: to be closed, or a batch for the disk
    registry::BatchId batch = 0;
    std::vector<registry::Write> writes;
    std::size_t bytes = 0;
  };

  // Endpoint
  void on_accepted(ConnectionId connection) override { push({Work::Kind::kOpened, 0, connection, 0, {}}); }
  void on_connected(std::uint64_t, ConnectionId) override {}
  void on_connect_failed(std::uint64_t) override {}
  void on_closed(ConnectionId connection) override { push({Work::Kind::kClosed, 0, connection, 0, {}}); }
  void on_message(ConnectionId connection, registry::ToHead message) override {
    push({Work::Kind::kMessage, 0, connection, 0, std::move(message)});
  }
  // HeadEffects
  void send(ConnectionId to, registry::ToMember message) override {
    said_.push_back({to, std::make_shared<const registry::ToMember>(std::move(message)), 0, {}, 0});
  }
  void send_shared(ConnectionId to, const registry::SharedMessage& message) override {
    said_.push_back({to, message, 0, {}, 0});
  }
  void close(ConnectionId connection) override { said_.push_back({connection, nullptr, 0, {}, 0}); }
  void persist(registry::BatchId batch, std::vector<registry::Write> writes) override {
    said_.push_back({0, nullptr, batch, std::move(writes), 0});
  }

  void push(Work work);
  void next();
  TimeNs charged(const std::function<void()>& call, TimeNs fixed_ns);
  void decide(Work work);
  void count_said();
  std::size_t bytes_of(const ToMemberPtr& message);
  void let_out();
  void leave(Said said);
  void arm();

  Events& events_;
  Network& network_;
  Disk& disk_;
  Traffic& traffic_;
  const Plan plan_;
  const HandedOut handed_out_;
  EndpointId me_ = 0;
  std::unique_ptr<registry::Head> head_;
  std::deque<Work> inbox_;
  std::vector<Said> said_;
  std::map<ToMemberPtr, std::size_t> sizes_;  // of what was said to many: its bytes are made once
  bool is_busy_ = false;
  TimeNs link_free_ = 0;  // when it has taken all that was said
  TimeNs armed_ = base::kNever;
  const std::shared_ptr<bool> is_there_ = std::make_shared<bool>(true);
};

}  // namespace rayx::sim

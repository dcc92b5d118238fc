// A head whose disk is done at once unless it is held, with members that say what they are told to.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "registry/head.hpp"

namespace rayx::registry {

inline constexpr TimeNs kSecond = 1'000'000'000;
inline constexpr NodeId kNodeA{0xa};
inline constexpr NodeId kNodeB{0xb};
inline constexpr NodeId kDriver{0xd};
inline constexpr ActorId kActor{0x1234};

inline Resources cpus(int count) {
  Resources resources;
  resources.cpus = count * base::kUnitsOfOne;
  return resources;
}

class HeadTest : public testing::Test, public HeadEffects {
 protected:
  HeadTest() { start_head(); }

  void start_head() {
    connection_of.clear();
    said.clear();
    waiting.clear();
    head.emplace(options, *this);
    const Result<void> restored = head->restore({disk.begin(), disk.end()}, now);
    ASSERT_TRUE(restored) << restored.error().message;
    settle();
  }

  // HeadEffects
  void send(ConnectionId to, ToMember message) override { said[to].push_back(std::move(message)); }
  void send_shared(ConnectionId to, const SharedMessage& message) override {
    shared[message].push_back(to);
    send(to, *message);
  }
  void close(ConnectionId connection) override { closed.push_back(connection); }
  void persist(BatchId batch, std::vector<Write> writes) override {
    waiting.emplace_back(batch, std::move(writes));
    if (is_disk_immediate) settle();
  }

  void settle() {
    while (!is_disk_held && !waiting.empty()) {
      const auto [batch, writes] = std::move(waiting.front());
      waiting.erase(waiting.begin());
      for (const Write& write : writes) {
        if (write.value) {
          disk[write.key] = *write.value;
        } else {
          disk.erase(write.key);
        }
      }
      head->on_persisted(batch, now);
    }
  }
  void tell(NodeId node, ToHead message) {
    head->on_message(connection_of.at(node), std::move(message), now);
    settle();
    EXPECT_TRUE(head->is_valid());
  }
  ConnectionId join(NodeId node, Resume resume = {}, bool is_first = true, Resources resources = cpus(4),
                    Labels labels = {}) {
    const ConnectionId connection = ++last_connection;
    connection_of[node] = connection;
    head->on_opened(connection, now);
    Join join;
    join.protocol = kProtocolVersion;
    join.node = node;
    join.session = ++session;
    join.is_first = is_first;
    join.kind = node == kDriver ? MemberKind::kDriver : MemberKind::kNode;
    join.name = base::to_text(node);
    join.resources = node == kDriver ? Resources{} : std::move(resources);
    join.labels = std::move(labels);
    resume.cluster = 77;
    join.resume = std::move(resume);
    tell(node, std::move(join));
    return connection;
  }
  void request(NodeId node, RequestNumber number, RequestBody body) { tell(node, Request{number, 1, std::move(body)}); }
  void closes(NodeId node) {
    head->on_closed(connection_of.at(node), now);
    settle();
  }
  // Time passes; those that are named say that they live.
  void pass(TimeNs time, const std::vector<NodeId>& alive) {
    for (const TimeNs end = now + time; now < end;) {
      now = std::min(end, now + kSecond / 4);
      for (const NodeId node : alive) tell(node, Heartbeat{});
      head->tick(now);
      settle();
    }
  }

  // The last message of this kind to the node's connection, if there was one.
  template <class Message>
  std::optional<Message> last(NodeId node) {
    std::optional<Message> found;
    for (const ToMember& message : said[connection_of.at(node)])
      if (const auto* it = std::get_if<Message>(&message)) found = *it;
    return found;
  }
  template <class Message>
  int count(NodeId node) {
    int sum = 0;
    for (const ToMember& message : said[connection_of.at(node)]) sum += std::holds_alternative<Message>(message);
    return sum;
  }
  Answer answer(NodeId node) { return last<Answer>(node).value_or(Answer{0, Status::kLost, "there is none", {}}); }
  JobId start_job(RequestNumber number = 1) {
    request(kDriver, number, StartJob{"bundle", "program", "space"});
    return std::get<JobInfo>(answer(kDriver).body).job;
  }
  CreateActor creation(ActorId actor, JobId job, std::uint32_t max_restarts = 0) {
    CreateActor creation;
    creation.actor = actor;
    creation.job = job;
    creation.resources = cpus(1);
    creation.max_restarts = max_restarts;
    return creation;
  }
  Head::ActorInfo info(ActorId actor) {
    for (const auto& it : head->actors())
      if (it.actor == actor) return it;
    return {};
  }

  HeadOptions options{.cluster = 77, .news_pause_of_member_ns = 0};
  TimeNs now = kSecond;
  std::map<std::string, std::string> disk;
  bool is_disk_held = false;
  bool is_disk_immediate = false;  // done before persist returns
  std::vector<std::pair<BatchId, std::vector<Write>>> waiting;
  std::map<ConnectionId, std::vector<ToMember>> said;
  std::map<SharedMessage, std::vector<ConnectionId>> shared;  // who was told it
  std::vector<ConnectionId> closed;
  std::map<NodeId, ConnectionId> connection_of;
  ConnectionId last_connection = 0;
  std::uint64_t session = 0;
  std::optional<Head> head;
};

}  // namespace rayx::registry

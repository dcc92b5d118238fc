// The head of a cluster on the network: a registry::Head behind the links of its members, with its disk and its clock. All of it
// on the loop's thread, but for the disk.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "head/decider_timer.hpp"
#include "head/disk_writer.hpp"
#include "registry/head.hpp"
#include "wire/link.hpp"
#include "wire/loop.hpp"

namespace rayx::head {

// What a link is for: the hello of who connects.
inline constexpr const char* kMemberHello = "rayx member 1";

struct HeadConfig {
  std::string folder;  // of the durable state; empty: none, and a head that ends takes the cluster with it
  std::function<void(const std::string&)> log;  // one line; the loop's thread
};

class HeadServer final : private registry::HeadEffects {
 public:
  // Reads what the head before has left: kMalformed and kInvalidConfig say what to do with it.
  static Result<std::unique_ptr<HeadServer>> create(wire::Loop& loop, HeadConfig config);
  ~HeadServer() override;
  HeadServer(const HeadServer&) = delete;
  HeadServer& operator=(const HeadServer&) = delete;

  // A link that began with kMemberHello.
  void take(std::unique_ptr<wire::Link> link);
  const registry::Head& state() const { return head_; }

 private:
  class Connection;

  HeadServer(wire::Loop& loop, HeadConfig config);
  Result<void> restore();
  void send(registry::ConnectionId to, registry::ToMember message) override;
  void send_shared(registry::ConnectionId to, const registry::SharedMessage& message) override;
  void close(registry::ConnectionId connection) override;
  void persist(registry::BatchId batch, std::vector<registry::Write> writes) override;
  void is_durable(registry::BatchId batch);

  wire::Loop& loop_;
  const HeadConfig config_;
  registry::Head head_;
  DeciderTimer timer_;
  std::map<registry::ConnectionId, std::unique_ptr<Connection>> connections_;
  // What went to many the last time, as bytes: each of them is told the same message, one after the other.
  registry::SharedMessage shared_;
  std::string shared_bytes_;
  registry::ConnectionId last_connection_ = 0;
  std::shared_ptr<HeadServer*> self_;  // for what is posted: nothing when it has ended
  std::unique_ptr<DiskWriter> disk_;
};

}  // namespace rayx::head

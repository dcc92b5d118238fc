// One process of the node's, from the request for it until its slot is free again.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

#include "base/unique_fd.hpp"
#include "observe/line_prefixer.hpp"
#include "shm/node_calls.hpp"

namespace rayx::node {

// Tags of its pipes in the node's epoll set; the slot is added.
inline constexpr std::uint64_t kWorkerOut = 1ull << 32;
inline constexpr std::uint64_t kWorkerErr = 2ull << 32;

struct WorkerProcess {
  enum class Stage : std::uint8_t {
    kWanted,  // the fork server is not there, or has not answered
    kRunning,
    kDead,  // announced; owners take back what it had
  };
  Stage stage = Stage::kWanted;
  bool is_asked_for = false;  // kWanted: the fork server has the request
  bool was_running = false;
  bool owned = false;  // it had queues and records: burial takes longer
  bool is_dismissed = false;
  bool is_told_of = false;  // kDead: see shm::Control::tell_owners_of_holds
  pid_t pid = -1;
  base::UniqueFd out;
  base::UniqueFd err;
  std::unique_ptr<observe::LinePrefixer> out_lines;
  std::unique_ptr<observe::LinePrefixer> err_lines;
  std::string name;                  // before its lines
  std::uint32_t lane = 0;            // lane + 1 that it is leased to, 0: none
  std::uint32_t leases = 0;          // that it was given; see shm::LeaseWord
  shm::NodeCall* blocked = nullptr;  // the question that is answered when it goes on
};

// An actor's lane from its creation until nobody can call it any more.
struct ActorLane {
  std::uint32_t generation = 0;
  std::uint32_t creator = 0;  // process slot: the actor ends with it
  bool is_used = false;
  bool is_released = false;
  bool was_killed = false;     // by rayx::kill
  bool is_maker_gone = false;  // it ends with the process that made it
  bool is_elsewhere = false;   // or may be: the relay serves its lane, and this node has no process for it
  std::string name;
  shm::NodeCall* killer = nullptr;  // waits for its end
};

}  // namespace rayx::node

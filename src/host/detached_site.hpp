// The site of a job's detached actors on this node: begun by the node when the first of them is placed here, and ended when none is left.
// No driver has a link to it, its own neither: who calls the actors does so as another program's site. Loop's thread.
#pragma once

#include <memory>
#include <string>

#include "host/hosted_site.hpp"
#include "host/program_files.hpp"
#include "wire/loop.hpp"

namespace rayx::host {

class DetachedSite final : public HostedSite, public std::enable_shared_from_this<DetachedSite> {
 public:
  explicit DetachedSite(Daemon& daemon) : HostedSite(daemon, true) {}

  void begin(OpenSite about);
  bool is_open() const override { return state_ == State::kOpen; }
  void end(const std::string& why) override;
  // Whether an actor is here, or is to be. Without one it ends after a while: one that has crashed may come back.
  void is_needed(bool is_needed);

 private:
  enum class State : std::uint8_t { kNew, kStaging, kWaiting, kFetching, kStarting, kOpen, kEnded };
  void stage();
  void look_for_files(Missing missing);
  void ask_next_node();
  void start();
  void fail(const std::string& why);

  OpenSite about_;
  State state_ = State::kNew;
  base::TimeNs until_ns_ = 0;  // for how long the program's driver may be sending it
  Missing missing_;
  base::NodeId asked_;  // of the nodes that may have the program, in their order
  std::shared_ptr<FilesFetch> fetch_;
  wire::TimerId timer_ = 0;
  wire::TimerId end_timer_ = 0;
};

}  // namespace rayx::host

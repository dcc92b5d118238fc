// A node as a member of its cluster: what the head wants of it, and what its jobs want of the head.
#include <unistd.h>

#include <algorithm>
#include <future>
#include <random>
#include <utility>

#include "host/daemon.hpp"
#include "host/site_load.hpp"
#include "host/site_server.hpp"

namespace rayx::host {

base::NodeId random_node_id() {
  std::random_device random;
  const std::uint64_t number = std::uint64_t{random()} << 32 | random();
  return {number == 0 ? 1 : number};
}

std::string host_name() {
  char name[256] = {};
  return ::gethostname(name, sizeof(name) - 1) == 0 ? std::string(name) : std::string("a host without a name");
}

// Until the node is a member, or cannot become one.
struct Daemon::Joining {
  std::promise<Result<void>> outcome;
  bool is_told = false;
  std::string problem;

  void tell(Result<void> result) {
    if (!std::exchange(is_told, true)) outcome.set_value(std::move(result));
  }
};

Result<void> Daemon::join() {
  joining_ = std::make_shared<Joining>();
  std::future<Result<void>> outcome = joining_->outcome.get_future();
  network_->call([this] {
    registry::Identity identity;
    identity.node = random_node_id();
    identity.kind = registry::MemberKind::kNode;
    identity.name = config_.resources.name;
    identity.address = address_for_others();
    identity.pid = static_cast<std::uint32_t>(::getpid());
    identity.resources.cpus = config_.resources.cpus * base::kUnitsOfOne;
    identity.resources.memory_bytes = static_cast<std::int64_t>(config_.resources.store_bytes);
    identity.labels = config_.resources.labels;
    head::MemberHandler& handler = *this;
    member_ = std::make_unique<head::MemberLink>(network_->loop(), head_for_me(),
                                                 wire::LinkConfig{config_.token, config_.tls, {}, {}},
                                                 std::move(identity), handler);
    member_->start();
  });
  if (outcome.wait_for(kJoinTimeout) == std::future_status::ready) return outcome.get();
  return network_->call([this]() -> Result<void> {
    if (joining_->is_told) return {};
    joining_->is_told = true;
    return Error{ErrorCode::kTimeout, "rayx: no head was found at " + head_endpoint_.text() + " within " +
                                          std::to_string(kJoinTimeout.count()) +
                                          " s. Is `rayx start --head` running there? " + joining_->problem};
  });
}

void Daemon::leave() {
  constexpr std::chrono::seconds kLeaveTimeout{1};
  auto has_left = std::make_shared<std::promise<void>>();
  std::future<void> done = has_left->get_future();
  network_->call([this, has_left] {
    if (member_ == nullptr || !member_->member().is_joined()) return has_left->set_value();
    is_leaving_ = true;
    has_left_ = [has_left] { has_left->set_value(); };
    member_->member().leave("the node was asked to end");
  });
  done.wait_for(kLeaveTimeout);
}

void Daemon::drain(std::chrono::nanoseconds within) {
  network_->loop().post([this, within] {
    if (member_ == nullptr) return over("it was asked to end");
    if (!member_->member().is_joined()) {
      is_leaving_ = true;
      return over("it was asked to end while the head is away");
    }
    const auto answered = [this](const registry::Answer& answer) {
      if (answer.status != registry::Status::kOk) over("it cannot be drained: " + answer.message);
    };
    member_->request(registry::DrainNode{member_->member().identity().node, within.count(), "it was asked to end"},
                     answered);
  });
}

// ---- Jobs

void Daemon::admit(base::JobId job, std::function<void(Result<void>)> answer) {
  member_->request(registry::LookUpJob{job}, [job, answer = std::move(answer)](const registry::Answer& found) {
    if (found.status == registry::Status::kOk) return answer({});
    answer(Error{ErrorCode::kInvalidArgument,
                 "rayx: the head does not let job " + base::to_text(job) + " in here: " + found.message});
  });
}

HostedSite* Daemon::site_of(base::JobId job, bool is_detached) {
  const auto found = std::find_if(servers_.begin(), servers_.end(), [&](const auto& server) {
    return server.second->job() == job && server.second->is_detached() == is_detached;
  });
  return found == servers_.end() ? nullptr : found->second.get();
}

bool Daemon::reads(const std::string& channel) {
  return std::any_of(servers_.begin(), servers_.end(), [&channel](const auto& server) {
    return server.second->is_open() && server.second->places().reads(channel);
  });
}

void Daemon::tell_readers(const std::string& channel, const std::function<void(relay::PlaceEvents&)>& tell) {
  for (const auto& [key, server] : servers_)
    if (server->is_open() && server->places().reads(channel)) tell(server->relay());
}

void Daemon::subscribed(const std::string& channel, bool is_refused) {
  tell_readers(channel, [&](relay::PlaceEvents& site) { site.subscribed(channel, is_refused); });
}
void Daemon::published(const registry::Published& message) {
  tell_readers(message.channel, [&](relay::PlaceEvents& site) { site.published(message); });
}
void Daemon::missed(const std::string& channel, std::optional<std::uint64_t> count) {
  tell_readers(channel, [&](relay::PlaceEvents& site) { site.missed(channel, count); });
}

void Daemon::job_ended(registry::JobId job, const std::string& why) {
  if (HostedSite* const server = server_of(job)) server->end(why);
}

void Daemon::job_over(registry::JobId job) {
  if (HostedSite* const server = site_of(job, true)) server->end("none is left");
}

// ---- The end

void Daemon::drain(base::TimeNs within_ns, const std::string& reason) {
  log("the node is drained within " + std::to_string(within_ns / 1'000'000'000) + " s: " + reason);
  is_draining_ = true;
  look_whether_drained();
}

void Daemon::look_whether_drained() {
  if (!is_draining_ || is_leaving_ || !servers_.empty()) return;
  is_leaving_ = true;
  member_->member().drain_done();
}

void Daemon::over(const std::string& why, bool was_asked) {
  if (!std::exchange(is_over_told_, true) && config_.is_over) config_.is_over(why, was_asked);
}

void Daemon::left() {
  if (has_left_) return std::exchange(has_left_, nullptr)();
  over("it has left the cluster, and has no job");
}

void Daemon::start_anew(const std::string& message) {
  end_all_jobs("the node was given up: " + message);
  if (is_draining_ || is_leaving_) return over("the cluster has given it up: " + message);
  log("the cluster has given this node up (" + message + "); all of it ends, and it joins again as a new one");
  is_anew_ = true;
  // Behind the ends of the jobs.
  bench_->post([this] {
    network_->loop().post([this] {
      if (member_ != nullptr && !is_leaving_) member_->rejoin(random_node_id());
    });
  });
}

void Daemon::is_over(const std::string& message) {
  joining_->tell(Error{ErrorCode::kSystemError, "rayx: " + message});
  end_all_jobs(message);
  over(message, false);
}

void Daemon::head_is_away(const Error& error) {
  joining_->problem = error.message;
  if (is_no_head(error)) joining_->tell(Error{error.code, "rayx: " + error.message});
  if (!std::exchange(is_head_away_, true) && joining_->is_told && !is_leaving_)
    log(error.message + ". What runs goes on; the node ends if no head is back in time");
}

// With the next heartbeat.
void Daemon::tell_load() {
  registry::Load load;
  for (const auto& [address, server] : servers_)
    if (server->is_open()) {
      add_used(server->arena(), load);
      load.has_objects = load.has_objects || server->relay().references().exports != 0;
    }
  member_->member().set_load(std::move(load));
  load_timer_ = network_->loop().call_after(kLoadPause, [this] { tell_load(); });
}

void Daemon::is_joined() {
  if (load_timer_ == 0) tell_load();
  const bool was_away = std::exchange(is_head_away_, false) && joining_->is_told;
  joining_->tell({});
  if (std::exchange(is_anew_, false)) {
    log("the node is a member again, as a new one");
  } else if (was_away) {
    log("the head at " + head_endpoint_.text() + " has been found again");
  }
}

}  // namespace rayx::host

#include "cluster/supervisor.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "base/files.hpp"
#include "base/format.hpp"
#include "base/unique_fd.hpp"

namespace rayx::cluster {

Supervisor::Supervisor(SupervisorConfig config, ClusterProvider& provider, Surroundings& around,
                       const base::Clock& clock)
    : config_(std::move(config)),
      provider_(provider),
      around_(around),
      clock_(clock),
      planner_(config_.limits),
      progress_at_(clock.now_ns()),
      told_at_(progress_at_) {}

std::optional<NodeNumber> Supervisor::number_of(const std::string& name) const {
  const std::string_view text(name);
  const std::size_t dash = config_.name_prefix.size();
  if (!text.starts_with(config_.name_prefix) || text.size() <= dash || text[dash] != '-') return std::nullopt;
  NodeNumber number = 0;
  const auto [end, error] = std::from_chars(text.data() + dash + 1, text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

void Supervisor::step() {
  look_at_members();
  ask_for_status();
  retry_kills();
  planner_.wanted_nodes(outcome_ == Outcome::kReady ? around_.wanted_nodes() : 0, clock_.now_ns());
  planner_.tick(clock_.now_ns(), *this);
  forget_gone();
  if (outcome_ == Outcome::kStarting) look_how_start_goes();
  tell_progress();
}

// ---- What there is

void Supervisor::look_at_members() {
  const TimeNs now = clock_.now_ns();
  std::set<NodeNumber> seen;
  for (const Member& member : around_.members()) {
    const std::optional<NodeNumber> number = number_of(member.name);
    if (!number) continue;  // somebody else's node, who may come and go
    if (!seen.insert(*number).second) {
      around_.send_away(member);
      continue;
    }
    planner_.joined(*number, now);
    planner_.busy(*number, member.is_busy, now);
  }
  for (const NodeNumber number : is_member_)
    if (seen.count(number) == 0) planner_.lost(number, now);
  is_member_ = std::move(seen);
  const int ready = planner_.count(Phase::kJoined);
  if (ready > most_ready_) {
    most_ready_ = ready;
    progress_at_ = now;
  }
  if (std::exchange(ready_told_, ready) != ready) around_.nodes_ready(ready);
}

void Supervisor::ask_for_status() {
  for (auto& [number, submitted] : submitted_) {
    if (is_time_over()) return;
    const auto node = planner_.nodes().find(number);
    if (node == planner_.nodes().end() || node->second.phase == Phase::kJoined) continue;
    const TimeNs now = clock_.now_ns();
    if (now - submitted.asked_at < (is_ending_ ? kEndStatusPauseNs : kStatusPauseNs)) continue;
    submitted.asked_at = now;
    Result<NodeStatus> status = provider_.status(submitted.id);
    if (!status && status.error().code == ErrorCode::kNotFound)
      status = NodeStatus{NodeState::kEnded, "", "the provider " + provider_.name() + " does not know it any more"};
    submitted.last = status ? status->reason : status.error().message;
    if (!status) continue;
    const bool is_wanted = node->second.phase != Phase::kLeaving;
    planner_.status(number, *status, clock_.now_ns());
    if (status->state == NodeState::kEnded && is_wanted)
      tell_trouble(name_of(number) + " has ended", status->reason.empty() ? "nobody knows why" : status->reason,
                   submitted.id);
  }
}

void Supervisor::forget_gone() {
  for (auto it = submitted_.begin(); it != submitted_.end();) {
    if (planner_.nodes().count(it->first) != 0) {
      ++it;
      continue;
    }
    keep_log(it->first, it->second.id);
    provider_.forget(it->second.id);
    around_.gone(it->second.id);
    it = submitted_.erase(it);
  }
}

// ---- What the planner wants

void Supervisor::submit(NodeNumber number) {
  NodeRequest request = around_.request_of(name_of(number));
  request.avoid_hosts = planner_.avoided_hosts(clock_.now_ns());
  const Result<NodeSubmission> submission = provider_.submit(request);
  if (submission) {
    submitted_[number].id = submission->id;
    around_.submitted(submission->id);
    return planner_.submitted(number, clock_.now_ns());
  }
  const Error& error = submission.error();
  planner_.not_submitted(number, error.message, clock_.now_ns());
  // Before the cluster was ever there, what the provider refuses is the user's to know at once.
  if (outcome_ == Outcome::kStarting && planner_.count(Phase::kJoined) == 0) return fail(error.code, error.message);
  tell_trouble(name_of(number) + " could not be started", error.message);
}

void Supervisor::end(NodeNumber number, const std::string& why) {
  const auto found = submitted_.find(number);
  if (found == submitted_.end() || is_time_over()) return;
  const bool is_first_wish = found->second.kill_at < 0;
  if (!is_ending_ && is_first_wish) around_.progress(name_of(number) + " is ended: " + why);
  kill(found->second);
}

void Supervisor::kill(Submitted& submitted) {
  const Result<void> killed = provider_.kill(submitted.id);
  // Again until it is gone: a wish that was heard may still be lost with the master that heard it.
  submitted.kill_at = clock_.now_ns() + (killed ? kKillAgainNs : kKillRetryNs);
  if (!killed) submitted.last = killed.error().message;
}

void Supervisor::retry_kills() {
  for (auto& [number, submitted] : submitted_)
    if (submitted.kill_at >= 0 && clock_.now_ns() >= submitted.kill_at && !is_time_over()) kill(submitted);
}

void Supervisor::end_all(TimeNs until) {
  is_ending_ = true;
  end_by_ = until;
  planner_.end_all(clock_.now_ns(), *this);
}

std::vector<std::string> Supervisor::left() const {
  std::vector<std::string> all;
  for (const auto& [number, submitted] : submitted_)
    all.push_back(name_of(number) + " (" + submitted.id + (submitted.last.empty() ? "" : ": " + submitted.last) + ')');
  return all;
}

Result<void> make_log_folder(const std::string& path) {
  std::string part = path;
  int error = base::make_folders(path, &part);
  if (error == 0 && ::access(path.c_str(), W_OK | X_OK) != 0) error = errno;
  struct stat status {};
  if (error == 0 && (::stat(path.c_str(), &status) != 0 || !S_ISDIR(status.st_mode))) error = ENOTDIR;
  if (error == 0) return {};
  return Error{ErrorCode::kInvalidConfig,
               base::format("rayx: no logs can be written to collect_logs_to, \"{}\": {}: {}; name another folder",
                            path, part, std::strerror(error))};
}

// Never over a log that is there already: another cluster of today may have had a node of the same name.
void Supervisor::keep_log(NodeNumber number, const std::string& id) {
  if (config_.collect_logs_to.empty() || !provider_.abilities().has_logs) return;
  const auto give_up = [this, number](const std::string& why) {
    around_.progress("the log of " + name_of(number) + ' ' + why);
  };
  const Result<std::string> log = provider_.logs(id);
  if (!log) return give_up("could not be had: " + log.error().message);
  // Somebody may have removed it since the start.
  if (const Result<void> made = make_log_folder(config_.collect_logs_to); !made)
    return give_up("is lost: " + made.error().message);
  constexpr int kTriesMax = 1'000;
  for (int i = 0; i < kTriesMax; ++i) {
    const std::string path =
        config_.collect_logs_to + '/' + name_of(number) + (i == 0 ? "" : '.' + std::to_string(i)) + ".log";
    const base::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
    if (!file && errno == EEXIST) continue;
    if (!file || !base::write_all(file.get(), std::as_bytes(std::span(*log))))
      give_up("could not be written to " + path + ": " + std::strerror(errno) + " (collect_logs_to)");
    return;
  }
  give_up(base::format("was not kept: {} already has {} of that name (collect_logs_to)", config_.collect_logs_to,
                       kTriesMax));
}

// ---- The start

void Supervisor::fail(ErrorCode code, std::string message) {
  if (outcome_ != Outcome::kStarting) return;
  outcome_ = Outcome::kFailed;
  failure_ = {code, std::move(message)};
}

std::string Supervisor::what_others_wait_for() const {
  int waiting = 0;
  std::string reason;
  for (const auto& [number, node] : planner_.nodes()) {
    if (node.phase != Phase::kWaiting && node.phase != Phase::kFetching && node.phase != Phase::kRunning) continue;
    ++waiting;
    if (!node.waits_for.empty()) reason = node.waits_for;
  }
  if (reason.empty()) reason = planner_.last_failure();
  if (waiting == 0) return reason;
  return base::format("{} wait{}{}", waiting, waiting == 1 ? "s" : "", reason.empty() ? "" : ": " + reason);
}

void Supervisor::look_how_start_goes() {
  const int ready = planner_.count(Phase::kJoined);
  if (ready >= config_.limits.nodes_min) {
    outcome_ = Outcome::kReady;
    return;
  }
  if (ready == 0 && planner_.failures() >= kStartFailuresMax)
    return fail(ErrorCode::kSystemError,
                base::format("{} nodes that were started have failed, and none is ready. The last one: {}",
                             planner_.failures(), planner_.last_failure()));
  if (clock_.now_ns() - progress_at_ < config_.start_timeout_ns) return;
  const std::string summary =
      base::format("{} of {} nodes are ready, and no further one in {} s: {}", ready, config_.limits.nodes_min,
                   config_.start_timeout_ns / kSecondNs, what_others_wait_for());
  if (ready == 0 || config_.is_strict) return fail(ErrorCode::kTimeout, summary);
  around_.progress(summary + ". The cluster is used as it is; the others join when they can");
  outcome_ = Outcome::kReady;
}

void Supervisor::tell_progress() {
  if (is_ending_ || outcome_ == Outcome::kFailed) return;
  const int ready = planner_.count(Phase::kJoined);
  const TimeNs now = clock_.now_ns();
  const int target = std::max(planner_.target(now), ready);
  const std::string count = base::format("{} of {} nodes ready", ready, target);
  const bool is_same = told_.starts_with(count);
  const TimeNs pause = outcome_ == Outcome::kReady ? kReadyPauseNs : kProgressPauseNs;
  if (is_same && now - told_at_ < pause) return;
  const std::string others = ready < target ? what_others_wait_for() : "";
  const std::string line =
      count + (others.empty() || (!is_same && outcome_ == Outcome::kStarting) ? "" : "; " + others);
  told_at_ = now;
  if (line == told_) return;
  told_ = line;
  around_.progress(line);
}

// A node that ended though nobody had asked for it, or that was refused. The count tells that it is missing, only this line why.
void Supervisor::tell_trouble(const std::string& what, const std::string& why, const std::string& id) {
  if (is_ending_ || outcome_ == Outcome::kFailed) return;
  const TimeNs now = clock_.now_ns();
  constexpr TimeNs kMinute_ns = 60 * kSecondNs;
  if (now - minute_at_ >= kMinute_ns) {
    minute_at_ = now;
    troubles_ = 0;
  }
  std::string reason = why;
  if (const std::size_t at = reason.find(id); at != std::string::npos) reason.erase(at, id.size());
  const bool is_same = reason == trouble_ && now - trouble_at_ < kSameTroublePauseNs;
  if (is_same || troubles_ >= kTroublesAMinute) return void(++untold_);
  ++troubles_;
  trouble_ = std::move(reason);
  trouble_at_ = now;
  const int untold = std::exchange(untold_, 0);
  around_.progress(what + ": " + why + (untold == 0 ? "" : base::format(" ({} more before it)", untold)));
}

}  // namespace rayx::cluster

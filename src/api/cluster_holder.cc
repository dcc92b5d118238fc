#include "api/cluster_holder.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <exception>
#include <utility>

#include "api/active_cluster.hpp"
#include "api/keeper.hpp"
#include "api/role_names.hpp"
#include "cluster/provider_calls.hpp"
#include "process/pidfd.hpp"
#include "process/spawn_self.hpp"

namespace rayx::detail {

using cluster::Json;

namespace {

constexpr std::chrono::seconds kEndPatience = kKeeperEndPatience + std::chrono::seconds(15);
constexpr std::chrono::seconds kKeeperGonePatience{5};
constexpr std::chrono::seconds kRescuePatience{30};
constexpr std::chrono::milliseconds kRescuePause{200};

// Set in the thread that listens to the keeper: it is the one that calls the user's code.
thread_local const ClusterHolder* listens_for = nullptr;

// The last reference may go in a function of the user's that the listener calls: it does not wait for itself.
void destroy(ClusterHolder* holder) {
  if (listens_for != holder) {
    delete holder;
  } else {
    std::thread([holder] { delete holder; }).detach();
  }
}

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : ", ") + word;
  return text;
}

}  // namespace

Result<std::shared_ptr<ClusterHolder>> ClusterHolder::start(HolderConfig config) {
  std::shared_ptr<ClusterHolder> holder(new ClusterHolder(std::move(config)), &destroy);
  if (Result<void> spawned = holder->spawn_keeper(); !spawned) return std::move(spawned).error();
  holder->listener_ = std::make_unique<std::thread>([it = holder.get()] { it->listen(); });
  if (Result<void> started = holder->wait_for_start(); !started) {
    static_cast<void>(holder->shutdown().has_value());
    return std::move(started).error();
  }
  Result<wire::Token> token = wire::Token::from_hex(holder->token_hex());
  if (!token) return std::move(token).error();
  add_active_cluster({holder->address(), std::move(*token)});
  return holder;
}

Result<void> ClusterHolder::spawn_keeper() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0)
    return process::describe_spawn_error("making a socket for the cluster's keeper", errno);
  base::UniqueFd ours(ends[0]);
  base::UniqueFd theirs(ends[1]);
  const base::UniqueFd null(::open("/dev/null", O_WRONLY | O_CLOEXEC));
  // A driver may have closed its own standard error.
  const bool has_err = ::fcntl(STDERR_FILENO, F_GETFD) >= 0;
  process::SpawnSelf spawn{.role = kKeeperRole,
                           .in = -1,
                           .control = theirs.get(),
                           .out = null.get(),
                           .err = has_err ? STDERR_FILENO : null.get(),
                           .nonce = 0,
                           .env = {},
                           .program = {}};
  const Result<pid_t> pid = process::spawn_self(spawn);
  if (!pid) return pid.error();
  keeper_pid_ = *pid;
  owner_pid_ = ::getpid();
  keeper_ = std::make_unique<cluster::JsonLines>(std::move(ours));
  keeper_->send({{"do", "start"}, {"pid", owner_pid_}, {"spec", config_.spec}});
  return {};
}

Result<void> ClusterHolder::wait_for_start() {
  std::unique_lock lock(mutex_);
  // The keeper has the time-outs; it dies or answers.
  changed_.wait(lock, [this] { return known_.is_ready || known_.is_over; });
  if (known_.failure) {
    Error error = *known_.failure;
    if (!known_.left.empty())
      error.message += ". These could not be ended and are to be ended by hand: " + joined(known_.left);
    return error;
  }
  if (known_.is_ready) return {};
  return Error{ErrorCode::kSystemError,
               "rayx: the keeper of the cluster, a process of this program, has ended before the cluster was there; "
               "what it printed stands above"};
}

// ---- The listener's thread

void ClusterHolder::listen() {
  listens_for = this;
  while (true) {
    const std::optional<Json> message = keeper_->receive(base::Deadline(std::chrono::hours(1)));
    if (message) {
      took(*message);
    } else if (keeper_->is_closed()) {
      break;
    }
  }
  bool is_lost = false;
  {
    const std::lock_guard lock(mutex_);
    is_lost = !std::exchange(known_.is_over, true);
    known_.is_lost = is_lost;
  }
  if (is_lost) keeper_is_lost();
  changed_.notify_all();
}

void ClusterHolder::took(const Json& message) {
  if (message.contains("call")) {
    Json answer = config_.provider != nullptr
                      ? cluster::answer_call(*config_.provider, message)
                      : Json{{"error", cluster::to_json(Error{ErrorCode::kSystemError, "there is no provider here"})}};
    answer["answer"] = cluster::number_of(message, "number");
    keeper_->send(answer);
    return;
  }
  const std::string what = cluster::text_of(message, "tell");
  if (what == "progress") return progress(cluster::text_of(message, "line"));
  const std::lock_guard lock(mutex_);
  if (what == "head") {
    known_.address = cluster::text_of(message, "address");
    known_.token = cluster::text_of(message, "token");
  } else if (what == "nodes") {
    known_.ready_nodes = static_cast<int>(cluster::number_of(message, "count"));
  } else if (what == "submitted") {
    known_.submissions.insert(cluster::text_of(message, "id"));
  } else if (what == "gone") {
    known_.submissions.erase(cluster::text_of(message, "id"));
  } else if (what == "ready") {
    known_.is_ready = true;
  } else if (what == "failed" || what == "over") {
    if (what == "failed") known_.failure = cluster::error_from(message.value("error", Json::object()));
    if (message.contains("left") && message["left"].is_array())
      for (const Json& it : message["left"])
        if (it.is_string()) known_.left.push_back(it.get<std::string>());
    known_.is_over = true;
  }
  changed_.notify_all();
}

// Somebody killed it. What it had started is ended from here.
void ClusterHolder::keeper_is_lost() {
  progress("the keeper of the cluster, process " + std::to_string(keeper_pid_) +
           ", has died, and the head of the cluster with it; the nodes are ended");
  std::shared_ptr<ClusterProvider> rescuer = config_.provider;
  if (rescuer == nullptr && config_.make_rescuer) {
    Result<std::shared_ptr<ClusterProvider>> made = config_.make_rescuer();
    if (made) rescuer = std::move(*made);
  }
  if (rescuer == nullptr) return;
  std::set<std::string> left;
  {
    const std::lock_guard lock(mutex_);
    left = known_.submissions;
  }
  for (const base::Deadline patience(kRescuePatience); !left.empty() && !patience.has_passed();) {
    for (auto it = left.begin(); it != left.end() && !patience.has_passed();) {
      static_cast<void>(rescuer->kill(*it).has_value());
      const Result<NodeStatus> status = rescuer->status(*it);
      const bool is_gone = status ? status->state == NodeState::kEnded : status.error().code == ErrorCode::kNotFound;
      it = is_gone ? left.erase(it) : std::next(it);
    }
    if (!left.empty()) ::poll(nullptr, 0, static_cast<int>(kRescuePause.count()));
  }
  const std::lock_guard lock(mutex_);
  known_.left.assign(left.begin(), left.end());
}

void ClusterHolder::progress(const std::string& line) const {
  std::string problem;
  try {
    if (config_.on_progress) return config_.on_progress(line);
  } catch (const std::exception& error) {
    problem = error.what();
  } catch (...) {
    problem = "something that is no std::exception";
  }
  if (config_.on_progress) std::fprintf(stderr, "rayx: on_progress threw: %s. It was told:\n", problem.c_str());
  std::fprintf(stderr, "rayx: %s\n", line.c_str());
}

// ---- What it is asked

std::string ClusterHolder::address() const {
  const std::lock_guard lock(mutex_);
  return known_.address;
}
std::string ClusterHolder::token_hex() const {
  const std::lock_guard lock(mutex_);
  return known_.token;
}
int ClusterHolder::nodes_ready() const {
  const std::lock_guard lock(mutex_);
  return known_.is_over ? 0 : known_.ready_nodes;
}

bool ClusterHolder::wait_for_nodes(int count, Duration timeout) const {
  std::unique_lock lock(mutex_);
  const auto is_so = [this, count] { return known_.is_over || known_.ready_nodes >= count; };
  if (timeout == kForever) {
    changed_.wait(lock, is_so);
  } else {
    changed_.wait_for(lock, timeout, is_so);
  }
  return !known_.is_over && known_.ready_nodes >= count;
}

// ---- The end

bool ClusterHolder::is_in_forked_child() const { return owner_pid_ != ::getpid(); }

Result<void> ClusterHolder::shutdown() {
  if (keeper_ == nullptr || is_in_forked_child()) return {};
  if (listens_for == this)
    return Error{
        ErrorCode::kInvalidArgument,
        "rayx: a cluster cannot be shut down by on_progress, or by its own provider: that thread of rayx's has to "
        "hear of the end. Tell another thread to do it"};
  const std::lock_guard one_at_a_time(ending_);
  if (std::exchange(has_ended_, true)) return end_;
  remove_active_cluster(address());
  keeper_->send({{"do", "shutdown"}});
  bool has_answered = false;
  {
    std::unique_lock lock(mutex_);
    has_answered = changed_.wait_for(lock, kEndPatience, [this] { return known_.is_over; });
  }
  // Then the listener sees its death, and ends the nodes in its place.
  if (!has_answered && keeper_pid_ > 0) ::kill(keeper_pid_, SIGKILL);
  stop_listening();
  reap_keeper();
  const std::lock_guard lock(mutex_);
  if (!known_.left.empty())
    end_ = Error{ErrorCode::kSystemError,
                 "rayx: these nodes of the cluster are not confirmed gone: " + joined(known_.left) +
                     ". End them by hand, or look at them again: they end by themselves when they find no head"};
  return end_;
}

void ClusterHolder::stop_listening() {
  keeper_->close();
  if (listener_ != nullptr) listener_->join();
  listener_.reset();
}

// It closes its end of the socket as the last thing but one. A host that waits for all children may have its status already.
void ClusterHolder::reap_keeper() {
  if (keeper_pid_ < 0) return;
  const base::Deadline patience(kKeeperGonePatience);
  const base::UniqueFd pidfd = process::open_pidfd(keeper_pid_);
  while (::waitpid(keeper_pid_, nullptr, WNOHANG) == 0) {
    pollfd entry{pidfd.get(), POLLIN, 0};
    ::poll(&entry, 1, pidfd ? patience.left_ms() : 10);
    if (patience.has_passed()) ::kill(keeper_pid_, SIGKILL);
  }
  keeper_pid_ = -1;
}

ClusterHolder::~ClusterHolder() {
  if (is_in_forked_child()) {
    // The thread is the parent's.
    static_cast<void>(listener_.release());
    return;
  }
  static_cast<void>(shutdown().has_value());
}

}  // namespace rayx::detail

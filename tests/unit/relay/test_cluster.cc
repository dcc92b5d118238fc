#include "test_cluster.hpp"

#include <algorithm>
#include <chrono>
#include <utility>
#include <variant>

namespace rayx::relay::test {

// The member of one site, and what its relay sees of the cluster. All of it happens in the cluster's thread.
class TestCluster::SiteMember final : public Places, private registry::MemberEffects {
 public:
  SiteMember(TestCluster& cluster, std::size_t site, base::NodeId node, int cpus, const base::Labels& labels)
      : cluster_(cluster), site_(site), member_(identity(site, node, cpus, labels), *this) {}

  // ---- Places
  void create_actor(registry::CreateActor request) override {
    cluster_.post([this, request = std::move(request)]() mutable {
      request.job = cluster_.job_;
      const registry::ActorId actor = request.actor;
      const registry::RequestNumber number = member_.request(std::move(request));
      creating_[number] = actor;
    });
  }
  void look_up_actor(std::string name, std::uint64_t question) override {
    cluster_.post([this, name = std::move(name), question]() mutable {
      looking_up_[member_.request(registry::LookUpName{{}, std::move(name), cluster_.job_})] = question;
    });
  }
  void kill_actor(registry::ActorId actor) override {
    cluster_.post([this, actor] { member_.request(registry::KillActor{actor}); });
  }
  void watch_actor(registry::ActorId actor) override {
    cluster_.post([this, actor] { member_.watch(actor); });
  }
  void unwatch_actor(registry::ActorId actor) override {
    cluster_.post([this, actor] { member_.unwatch(actor); });
  }
  void actor_alive(registry::ActorId actor, registry::Incarnation incarnation) override {
    cluster_.post([this, actor, incarnation] { member_.actor_alive(actor, incarnation); });
  }
  void actor_ended(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause,
                   std::string message) override {
    cluster_.post([this, actor, incarnation, cause, message = std::move(message)] {
      member_.actor_ended(actor, incarnation, cause, message);
    });
  }
  void ask(registry::RequestBody request, std::uint64_t question) override {
    cluster_.post([this, request = std::move(request), question]() mutable {
      asked_[member_.request(std::move(request))] = question;
    });
  }
  void subscribe(std::string channel) override {
    cluster_.post([this, channel = std::move(channel)] {
      if (member_.is_confirmed(channel) && relay_ != nullptr) return relay_->subscribed(channel, false);
      member_.subscribe(channel);
    });
  }
  void unsubscribe(std::string channel) override {
    cluster_.post([this, channel = std::move(channel)] { member_.unsubscribe(channel); });
  }
  void need_site(const base::SiteId& site) override { need_peer(base::alias_of(site)); }
  void need_peer(registry::NodeId node) override {
    cluster_.post([this, node] {
      std::string why = "the cluster does not know it";
      for (const auto& other : cluster_.members_)
        if (other->member_.identity().node == node) why = cluster_.link_(site_, other->site_);
      if (!why.empty() && relay_ != nullptr) relay_->peer_failed(node, why);
    });
  }

  registry::Member& member() { return member_; }
  void attach(Relay& relay) { relay_ = &relay; }
  void lose() {
    relay_ = nullptr;
    is_lost_ = true;
    cluster_.head_.on_closed(connection_, cluster_.now());
  }
  bool is_lost() const { return is_lost_; }
  bool has_job() const { return has_job_; }
  registry::ConnectionId connection() const { return connection_; }
  void tick() {
    if (!is_lost_ && member_.next_deadline_ns() <= cluster_.now()) member_.tick(cluster_.now());
  }

 private:
  static registry::Identity identity(std::size_t site, base::NodeId node, int cpus, const base::Labels& labels) {
    registry::Identity identity;
    identity.node = node;
    identity.kind = site == 0 ? registry::MemberKind::kDriver : registry::MemberKind::kNode;
    identity.name = "site " + std::to_string(site);
    identity.resources.cpus = cpus * base::kUnitsOfOne;
    identity.labels = labels;
    return identity;
  }

  // ---- MemberEffects
  void connect(std::uint64_t session) override {
    cluster_.post([this, session] {
      connection_ = ++cluster_.last_connection_;
      cluster_.site_of_[connection_] = site_;
      cluster_.head_.on_opened(connection_, cluster_.now());
      member_.on_connected(session, connection_, cluster_.now());
    });
  }
  void send(registry::ConnectionId to, registry::ToHead message) override {
    cluster_.post([this, to, message = std::move(message)] {
      if (!is_lost_) cluster_.head_.on_message(to, message, cluster_.now());
    });
  }
  void close(registry::ConnectionId) override {}
  void answered(const registry::Answer& answer) override {
    if (const auto* const job = std::get_if<registry::JobInfo>(&answer.body)) {
      cluster_.job_ = job->job;
      has_job_ = true;
      return;
    }
    if (const auto question = looking_up_.find(answer.number); question != looking_up_.end()) {
      if (relay_ != nullptr) relay_->actor_looked_up(question->second, answer);
      looking_up_.erase(question);
      return;
    }
    if (const auto question = asked_.find(answer.number); question != asked_.end()) {
      if (relay_ != nullptr) relay_->answered(question->second, answer);
      asked_.erase(question);
      return;
    }
    const auto found = creating_.find(answer.number);
    if (found == creating_.end()) return;
    if (relay_ != nullptr) relay_->creation_answered(found->second, answer);
    creating_.erase(found);
  }
  void start_actor(const registry::PlaceActor& place) override {
    if (relay_ != nullptr) relay_->start_actor(place);
  }
  void end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) override {
    if (relay_ != nullptr) relay_->end_actor(actor, incarnation, cause);
  }
  void actor_changed(const registry::ActorState& state) override {
    if (relay_ != nullptr) relay_->actor_changed(state);
  }
  void node_changed(const registry::NodeView& view) override {
    if (relay_ != nullptr) relay_->node_changed(view);
  }
  void job_ended(registry::JobId, const std::string&) override {}
  void job_over(registry::JobId) override {}
  void subscribed(const std::string& channel, bool is_refused) override {
    if (relay_ != nullptr) relay_->subscribed(channel, is_refused);
  }
  void published(const registry::Published& message) override {
    if (relay_ != nullptr) relay_->published(message);
  }
  void missed(const std::string& channel, std::optional<std::uint64_t> count) override {
    if (relay_ != nullptr) relay_->missed(channel, count);
  }
  void drain(registry::TimeNs, const std::string&) override {}
  void left() override {}
  void start_anew(const std::string&) override {}
  void end_yourself(const std::string&) override {}

  TestCluster& cluster_;
  const std::size_t site_;
  registry::Member member_;
  registry::ConnectionId connection_ = 0;
  Relay* relay_ = nullptr;
  bool is_lost_ = false;
  bool has_job_ = false;
  std::map<registry::RequestNumber, registry::ActorId> creating_;
  std::map<registry::RequestNumber, std::uint64_t> looking_up_;
  std::map<registry::RequestNumber, std::uint64_t> asked_;
};

TestCluster::TestCluster(std::function<std::string(std::size_t, std::size_t)> link) : link_(std::move(link)) {
  if (!head_.restore({}, now())) std::abort();
  thread_ = std::thread([this] { run(); });
}

TestCluster::~TestCluster() { stop(); }

void TestCluster::stop() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
    ready_.notify_one();
  }
  if (thread_.joinable()) thread_.join();
}

Places& TestCluster::add_member(base::NodeId node, int cpus, const base::Labels& labels) {
  std::promise<SiteMember*> made;
  post([this, node, cpus, &labels, &made] {
    members_.push_back(std::make_unique<SiteMember>(*this, members_.size(), node, cpus, labels));
    made.set_value(members_.back().get());
  });
  return *made.get_future().get();
}

void TestCluster::attach(std::size_t site, Relay& relay) {
  std::promise<void> joined;
  post([this, site, &relay] {
    members_[site]->attach(relay);
    members_[site]->member().start(now());
    if (site == 0) members_[site]->member().request(registry::StartJob{"bundle", "program", "space"});
  });
  for (;;) {
    std::promise<bool> is_in;
    post([this, site, &is_in] {
      is_in.set_value(members_[site]->member().is_joined() && (site != 0 || members_[site]->has_job()));
    });
    if (is_in.get_future().get()) return;
    std::this_thread::yield();
  }
}

void TestCluster::lose(std::size_t site) {
  std::promise<void> done;
  post([this, site, &done] {
    members_[site]->lose();
    done.set_value();
  });
  done.get_future().get();
}

void TestCluster::drain(std::size_t site) {
  post([this, site] {
    registry::DrainNode request;
    request.node = members_[site]->member().identity().node;
    request.within_ns = 60'000'000'000;
    members_[0]->member().request(request);
  });
}

void TestCluster::send(registry::ConnectionId to, registry::ToMember message) {
  post([this, to, message = std::move(message)] {
    const auto site = site_of_.find(to);
    if (site == site_of_.end() || members_[site->second]->is_lost()) return;
    members_[site->second]->member().on_message(to, message, now());
  });
}

void TestCluster::post(std::function<void()> event) {
  const std::lock_guard lock(mutex_);
  events_.push_back(std::move(event));
  ready_.notify_one();
}

void TestCluster::run() {
  constexpr base::TimeNs kLongest_ns = 100'000'000;
  for (;;) {
    std::function<void()> event;
    {
      std::unique_lock lock(mutex_);
      base::TimeNs deadline = head_.next_deadline_ns();
      for (const auto& member : members_)
        if (!member->is_lost()) deadline = std::min(deadline, member->member().next_deadline_ns());
      const base::TimeNs left = std::clamp<base::TimeNs>(deadline - now(), 0, kLongest_ns);
      ready_.wait_for(lock, std::chrono::nanoseconds(left), [this] { return is_stopping_ || !events_.empty(); });
      if (is_stopping_) return;
      if (!events_.empty()) {
        event = std::move(events_.front());
        events_.pop_front();
      }
    }
    if (event) event();
    if (head_.next_deadline_ns() <= now()) head_.tick(now());
    for (const auto& member : members_) member->tick();
  }
}

}  // namespace rayx::relay::test

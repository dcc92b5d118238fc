#include "registry/head.hpp"

#include <algorithm>
#include <utility>

#include "base/check.hpp"
#include "base/planted_bug.hpp"

namespace rayx::registry {
namespace {
const JobInfo* job_in(const ToMember& message) {
  if (const auto* place = std::get_if<PlaceActor>(&message)) return &place->job;
  const auto* answer = std::get_if<Answer>(&message);
  return answer != nullptr ? std::get_if<JobInfo>(&answer->body) : nullptr;
}
}  // namespace

Head::Head(HeadOptions options, HeadEffects& effects)
    : options_(options),
      effects_(effects),
      channels_(
          [this](NodeId to, Published message) {
            message.epoch = cluster_.epoch;
            send_to(to, std::move(message));
          },
          options.unseen_max, options.publish_queue_max) {}

// ---- Events

void Head::begin(TimeNs now_ns) {
  now_ns_ = now_ns;
  // The head itself stood still: what the members said meanwhile lies unread. Whoever is judged by time is given some.
  const TimeNs late_ns = deadline_ns_ == base::kNever ? 0 : now_ns - deadline_ns_;
  if (late_ns <= kLateHead_ns || RAYX_PLANTED_BUG(404)) return;
  // After a while they have given up their connections, and come back as after a start of the head.
  const TimeNs until_ns =
      now_ns + (late_ns + 2 * kPulse_ns < options_.silence_ns ? options_.silence_ns : options_.rejoin_ns);
  lenient_until_ns_ = std::max(lenient_until_ns_, until_ns);
  for (auto& [node, member] : members_) member.deadline_ns = std::max(member.deadline_ns, lenient_until_ns_);
}

void Head::finish() {
  if (!viewless_.empty()) send_full_views();
  if (news_due_ns_ <= now_ns_) send_news_to_all();
  if (may_place_) place_waiting();
  if (loads_due_ns() <= now_ns_) send_loads();
  let_out();
  deadline_ns_ = std::min({news_due_ns_, loads_due_ns(), earliest_ns_});
  // Without a pulse it would not notice that it stood still between two deadlines.
  if (!members_.empty()) deadline_ns_ = std::min(deadline_ns_, now_ns_ + kPulse_ns);
}

void Head::on_opened(ConnectionId connection, TimeNs now_ns) {
  begin(now_ns);
  if (strangers_.size() >= kStrangersMax) {
    close(connection);
  } else {
    strangers_[connection] = now_ns + kStrangerTimeout_ns;
    expect(now_ns + kStrangerTimeout_ns);
  }
  finish();
}

void Head::on_closed(ConnectionId connection, TimeNs now_ns) {
  begin(now_ns);
  strangers_.erase(connection);
  const auto found = joined_.find(connection);
  if (found != joined_.end()) is_away(found->second, members_.at(found->second));
  finish();
}

// Its connection is no more. It may come back.
void Head::is_away(NodeId node, Member& member) {
  channels_.drop(node);
  landed(member);
  joined_.erase(std::exchange(member.connection, 0));
  member.deadline_ns = std::max(now_ns_ + options_.reconnect_ns, lenient_until_ns_);
  expect(member.deadline_ns);
  unrank(node, member);
}

void Head::on_message(ConnectionId connection, ToHead message, TimeNs now_ns) {
  begin(now_ns);
  const auto found = joined_.find(connection);
  if (found == joined_.end()) {
    // A connection that was closed here may still bring what was on its way: it is nobody's.
    const auto* hello = std::get_if<Join>(&message);
    if (strangers_.contains(connection) && hello != nullptr) {
      join(connection, *hello);
    } else if (strangers_.contains(connection)) {
      close(connection);
    }
    return finish();
  }
  const NodeId node = found->second;
  Member& member = members_.at(node);
  is_heard(member, member.record.kind);
  if (const auto* it = std::get_if<Heartbeat>(&message)) {
    heartbeat(node, member, *it);
  } else if (const auto* wanted = std::get_if<Watch>(&message)) {
    watch(node, member, *wanted);
  } else if (const auto* channel = std::get_if<Subscribe>(&message)) {
    if (channel->is_on) {
      subscribe(node, connection, channel->channel);
    } else {
      channels_.unsubscribe(node, channel->channel);
    }
  } else if (const auto* seen = std::get_if<PublishedSeen>(&message)) {
    channels_.seen(node, seen->count);
  } else if (const auto* wish = std::get_if<Request>(&message)) {
    request(node, *wish);
  } else {
    is_away(node, member);  // a second Join
    close(connection);
  }
  finish();
}

void Head::on_persisted(BatchId batch, TimeNs now_ns) {
  begin(now_ns);
  persisted_ = std::max(persisted_, batch);
  finish();
}

void Head::tick(TimeNs now_ns) {
  begin(now_ns);
  look_at_deadlines();
  finish();
}

// ---- What leaves

// A member knows of a node before anything else names it, and hears of the end of each job that it knows.
void Head::send_to(NodeId node, ToMember message) {
  const auto found = members_.find(node);
  if (found == members_.end() || found->second.connection == 0) return;
  Member& member = found->second;
  if (const auto* state = std::get_if<ActorState>(&message); state != nullptr && !RAYX_PLANTED_BUG(450))
    show(state->node, member);
  const JobInfo* job = job_in(message);
  if (job == nullptr) return send(member.connection, std::move(message));
  show(job->driver, member);
  const JobId id = job->job;
  const bool is_answer = std::holds_alternative<Answer>(message);
  send(member.connection, std::move(message));
  const JobRecord* record = find_job(id);
  if (record != nullptr && !record->is_ended) {
    if (!RAYX_PLANTED_BUG(452)) serves(node, member, id);
  } else if (is_answer) {  // an answer that was kept: meanwhile it has ended
    send(member.connection, JobEnded{id, "it has ended"});
  }
}

void Head::serves(NodeId node, Member& member, JobId job) {
  member.jobs.insert(job);
  serving_.insert({job, node});
}

// What was said to it before still leaves; what it says from now on is not heard.
void Head::close(ConnectionId connection) {
  strangers_.erase(connection);
  joined_.erase(connection);
  outgoing_.push_back({0, connection, std::nullopt, {}});
}

// All that an event says may tell of anything that it wrote, and of what events before it wrote.
void Head::let_out() {
  if (!batch_.empty()) {
    std::vector<Write> writes;
    for (auto& [key, value] : batch_) writes.push_back({key, std::move(value)});
    batch_.clear();
    effects_.persist(++last_batch_, std::move(writes));
  }
  for (Held& it : outgoing_) {
    it.after = RAYX_PLANTED_BUG(405) ? persisted_ : last_batch_;
    std::size_t& count = held_count_[it.connection];
    if (++count > kHeldMessagesMax) {  // the disk stands still: the member will say it all again
      it.message.reset();
      it.shared.reset();
    }
    held_.push_back(std::move(it));
  }
  outgoing_.clear();
  while (!held_.empty() && held_.front().after <= persisted_) {
    Held it = std::move(held_.front());
    held_.pop_front();
    const auto count = held_count_.find(it.connection);
    if (--count->second == 0) held_count_.erase(count);
    if (it.message) {
      effects_.send(it.connection, std::move(*it.message));
    } else if (it.shared) {
      effects_.send_shared(it.connection, it.shared);
    } else {
      effects_.close(it.connection);
    }
  }
}

// ---- Reports

std::vector<NodeView> Head::nodes() const {
  std::vector<NodeView> views;
  for (const auto& [node, member] : members_) views.push_back(view_of(node, member));
  return views;
}

std::vector<Head::ActorInfo> Head::actors() const {
  std::vector<ActorInfo> all;
  for (const auto& [id, actor] : actors_)
    all.push_back({id, actor.state.phase, actor.state.incarnation, actor.state.node, actor.spec.creation.job,
                   actor.spec.creation.name_space, actor.spec.creation.name, actor.state.restarts,
                   !is_waiting(actor.state.phase) || is_feasible(actor.spec.creation),
                   actor.spec.creation.is_detached});
  return all;
}

std::vector<JobInfo> Head::jobs() const {
  std::vector<JobInfo> all;
  for (const auto& [id, job] : jobs_)
    if (!job.is_ended) all.push_back(job.info);
  return all;
}

std::map<NodeId, Load> Head::loads() const {
  std::map<NodeId, Load> all;
  for (const auto& [node, member] : members_) all[node] = member.load;
  return all;
}

bool Head::is_valid() const {
  std::size_t connected = 0;
  std::size_t in_flight = 0;
  std::size_t ranked = 0;
  std::size_t loads = 0;
  for (const auto& [node, member] : members_) {
    if (dead_.contains(node)) return false;
    connected += member.connection != 0;
    if (member.connection != 0 && (!joined_.contains(member.connection) || joined_.at(member.connection) != node))
      return false;
    Resources sum;
    for (const auto& [placement, resources] : member.lent) sum += resources;
    if (sum != member.given) return false;
    if (member.deadline_ns < earliest_ns_ || member.drain_ns < earliest_ns_) return false;
    if (member.rank && !places_.contains({*member.rank, node})) return false;
    in_flight += member.named_in_flight;
    ranked += member.rank.has_value();
    loads += member.load_changed != 0;
    if (member.news != 0 && !news_.contains(member.news)) return false;
    if (member.load_changed != 0 && !loads_.contains(member.load_changed)) return false;
  }
  if (ranked != places_.size() || loads != loads_.size()) return false;
  if (in_flight != named_in_flight_) return false;
  for (const auto& [job, node] : serving_)
    if (!jobs_.contains(job) || !members_.contains(node) || !members_.at(node).jobs.contains(job)) return false;
  std::size_t named = 0;
  std::size_t waiting = 0;
  std::size_t placed = 0;
  std::size_t owned = 0;
  for (const auto& [id, actor] : actors_) {
    const CreateActor& creation = actor.spec.creation;
    const bool is_dead = actor.state.phase == ActorPhase::kDead;
    if (!is_dead && !creation.name.empty()) {
      const auto found = names_.find({creation.name_space, creation.name});
      if (found == names_.end() || found->second != id) return false;
      ++named;
    }
    if (is_placed(actor.state.phase) && !members_.contains(actor.state.node)) return false;
    if (is_waiting(actor.state.phase) != (actor.waits_since != 0)) return false;
    waiting += actor.waits_since != 0;
    if (!is_dead && !jobs_.contains(creation.job)) return false;
    if (!of_job_.contains({creation.job, id})) return false;
    placed += is_placed(actor.state.phase) && placed_.contains({actor.state.node, id});
    if (is_placed(actor.state.phase) != placed_.contains({actor.state.node, id})) return false;
    owned += !is_dead && ends_with_its_owner(creation);
    if (!is_dead && ends_with_its_owner(creation) && !owned_.contains({actor.spec.owner, id})) return false;
  }
  if (placed != placed_.size() || owned != owned_.size() || of_job_.size() != actors_.size()) return false;
  return connected == joined_.size() && named == names_.size() && waiting == waiting_.size();
}

}  // namespace rayx::registry

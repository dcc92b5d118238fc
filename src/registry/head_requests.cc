// Requests: each is done once and answered until the member has the answer; and those that are neither about jobs nor actors.
#include <algorithm>
#include <type_traits>

#include "base/planted_bug.hpp"
#include "registry/head.hpp"
#include "registry/placement.hpp"

namespace rayx::registry {
namespace {

template <class Body, class... Bodies>
constexpr bool is_one_of = (std::is_same_v<Body, Bodies> || ...);

// Doing it twice would be seen, so its answer is kept. The others read, or name an incarnation that ends once.
bool changes_something(const RequestBody& body) {
  return std::visit(
      []<class Body>(const Body&) {
        return is_one_of<Body, StartJob, EndJob, CreateActor, KillActor, KvPut, KvDelete, Publish, DrainNode>;
      },
      body);
}
// What is published is lost with the head anyway, so is the answer.
bool must_survive(const RequestBody& body) { return !std::holds_alternative<Publish>(body) && !RAYX_PLANTED_BUG(412); }

Answer said(Status status, std::string message) { return {0, status, std::move(message), {}}; }

}  // namespace

void Head::request(NodeId node, const Request& request) {
  Member& member = members_.at(node);
  has_answers_below(node, member, request.answered_below);
  if (request.number < member.answered_below) return;  // it has the answer
  const auto kept = member.answers.find(request.number);
  if (kept != member.answers.end() && !RAYX_PLANTED_BUG(413)) return send_to(node, kept->second);
  if (member.answers.size() >= kKeptAnswersMax)
    return;  // it breaks the rules, or its answers are on their way: it asks again

  Answer answer = answer_to(node, request.body);
  answer.number = request.number;
  send_to(node, answer);
  if (std::holds_alternative<Leave>(request.body) || std::holds_alternative<DrainDone>(request.body)) {
    const auto* leave = std::get_if<Leave>(&request.body);
    return remove_member(node, leave != nullptr ? "it left: " + leave->why : "it was drained", true);
  }
  const auto still = members_.find(node);
  if (still == members_.end() || !changes_something(request.body)) return;
  if (must_survive(request.body)) write(answer_key(node, request.number), to_bytes(answer));
  still->second.answers[request.number] = std::move(answer);
}

void Head::has_answers_below(NodeId node, Member& member, RequestNumber number) {
  if (number <= member.answered_below) return;
  member.answered_below = number;
  while (!member.answers.empty() && member.answers.begin()->first < number + (RAYX_PLANTED_BUG(438) ? 1 : 0)) {
    write(answer_key(node, member.answers.begin()->first), std::nullopt);
    member.answers.erase(member.answers.begin());
  }
}

Answer Head::answer_to(NodeId node, const RequestBody& body) {
  return std::visit(
      [&]<class Body>(const Body& it) -> Answer {
        if constexpr (std::is_same_v<Body, StartJob>) {
          return start_job(node, it);
        } else if constexpr (std::is_same_v<Body, EndJob>) {
          if (find_job(it.job) == nullptr)
            return said(Status::kNotFound, "job " + base::to_text(it.job) + " is not there");
          end_job(it.job, it.why);
          return {};
        } else if constexpr (std::is_same_v<Body, LookUpJob>) {
          const JobRecord* job = find_job(it.job);
          if (job == nullptr || job->is_ended)
            return said(Status::kJobEnded, "job " + base::to_text(it.job) + " has ended");
          return {0, Status::kOk, {}, job->info};
        } else if constexpr (std::is_same_v<Body, CreateActor>) {
          return create_actor(node, it);
        } else if constexpr (std::is_same_v<Body, KillActor>) {
          return kill_actor(it);
        } else if constexpr (std::is_same_v<Body, ActorPlaced>) {
          made(node, it.actor, it.incarnation);
          return {};
        } else if constexpr (std::is_same_v<Body, ActorDied>) {
          died(node, it.actor, it.incarnation, it.cause, it.message);
          return {};
        } else if constexpr (std::is_same_v<Body, LookUpName>) {
          const JobRecord* const job = it.name_space.empty() ? find_job(it.job) : nullptr;
          const std::string& space = job == nullptr ? it.name_space : job->info.name_space;
          const std::optional<ActorId> found = find_name(space, it.name, it.name_space.empty());
          if (!found) return said(Status::kNotFound, "no living actor is called \"" + it.name + "\"");
          return {0, Status::kOk, {}, *found};
        } else if constexpr (std::is_same_v<Body, ListNames>) {
          return list_names(it);
        } else if constexpr (std::is_same_v<Body, ListWaiting>) {
          return list_waiting();
        } else if constexpr (std::is_same_v<Body, KvPut>) {
          return kv_put(it);
        } else if constexpr (std::is_same_v<Body, KvGet>) {
          return values_.answer(it);
        } else if constexpr (std::is_same_v<Body, KvDelete>) {
          return kv_delete(it);
        } else if constexpr (std::is_same_v<Body, KvKeys>) {
          return values_.answer(it);
        } else if constexpr (std::is_same_v<Body, Publish>) {
          if (it.payload.size() > kPublishedBytesMax)
            return said(Status::kInvalid, "a message may have " + std::to_string(kPublishedBytesMax) + " bytes");
          if (channels_.publish(it.channel, it.payload)) return {};
          return said(Status::kFull,
                      "there are " + std::to_string(kChannelsMax) + " channels, or the name is too long or empty");
        } else if constexpr (std::is_same_v<Body, DrainNode>) {
          const auto found = members_.find(it.node);
          if (found == members_.end())
            return said(Status::kNotFound, "node " + base::to_text(it.node) + " is not a member");
          start_drain(it.node, found->second, std::clamp<TimeNs>(it.within_ns, 0, kDrainMax_ns), it.reason);
          return {};
        } else {
          static_assert(is_one_of<Body, DrainDone, Leave>);
          return {};
        }
      },
      body);
}

Answer Head::kv_put(const KvPut& put) {
  Answer answer = values_.answer(put);
  if (answer.status == Status::kOk) write(value_key(put.name_space, put.key), put.value);
  return answer;
}

Answer Head::kv_delete(const KvDelete& request) {
  Answer answer = values_.answer(request);
  if (answer.status == Status::kOk && !RAYX_PLANTED_BUG(414))
    write(value_key(request.name_space, request.key), std::nullopt);
  return answer;
}

Answer Head::list_names(const ListNames& wanted) const {
  Listed listed;
  for (auto at = names_.lower_bound({wanted.name_space, wanted.after}); at != names_.end(); ++at) {
    if (at->first.first != wanted.name_space) break;
    if (at->first.second == wanted.after && !wanted.after.empty()) continue;
    if (listed.names.size() == kListedMax) {
      listed.is_cut = true;
      break;
    }
    listed.names.push_back(at->first.second);
  }
  return {0, Status::kOk, {}, std::move(listed)};
}

Answer Head::list_waiting() const {
  Listed listed;
  const CreateActor* last = nullptr;
  bool is_last_feasible = false;
  for (const auto& [order, id] : waiting_) {
    if (listed.names.size() == kListedMax) {
      listed.is_cut = true;
      break;
    }
    const CreateActor& wanted = actors_.at(id).spec.creation;
    // Often all want the same.
    if (last == nullptr || !wants_the_same(*last, wanted)) is_last_feasible = is_feasible(wanted);
    last = &wanted;
    listed.names.push_back("actor " + base::to_text(id) + (is_last_feasible ? " waits for room" : " fits on no node"));
  }
  return {0, Status::kOk, {}, std::move(listed)};
}

}  // namespace rayx::registry

// Jobs: one for each driver that asked. It ends with its driver, everywhere, and leaves nothing but its detached actors.
#include "base/planted_bug.hpp"
#include "registry/head.hpp"

namespace rayx::registry {

JobRecord* Head::find_job(JobId job) {
  const auto found = jobs_.find(job);
  return found == jobs_.end() ? nullptr : &found->second;
}

Answer Head::start_job(NodeId driver, const StartJob& request) {
  if (request.name_space.size() > kNameBytesMax || request.program.size() > kNameBytesMax ||
      request.bundle.size() > kNameBytesMax)
    return {0, Status::kInvalid, "names of jobs may have " + std::to_string(kNameBytesMax) + " bytes", {}};
  if (jobs_.size() >= kJobsMax) return {0, Status::kFull, "the cluster has " + std::to_string(kJobsMax) + " jobs", {}};
  if (!RAYX_PLANTED_BUG(415) || cluster_.last_job == 0) ++cluster_.last_job;
  const JobId id{cluster_.last_job};
  JobRecord& job = jobs_[id];
  job.info = {id, driver, request.bundle, request.program, request.name_space};
  // A namespace that no program will name by chance.
  if (job.info.name_space.empty()) job.info.name_space = "job-" + base::to_text(id);
  write(job_key(id), to_bytes(job));
  write(kClusterKey, to_bytes(cluster_));
  return {0, Status::kOk, {}, job.info};
}

void Head::end_job(JobId id, const std::string& why) {
  JobRecord* job = find_job(id);
  if (job == nullptr || job->is_ended) return;
  job->is_ended = true;
  write(job_key(id), to_bytes(*job));
  for (auto at = serving_.lower_bound({id, {}}); at != serving_.end() && at->first == id;) {
    if (!RAYX_PLANTED_BUG(416)) send_to(at->second, JobEnded{id, why});
    members_.at(at->second).jobs.erase(id);
    at = serving_.erase(at);
  }
  std::vector<ActorId> of_job;
  for (auto at = of_job_.lower_bound({id, {}}); at != of_job_.end() && at->first == id; ++at)
    of_job.push_back(at->second);
  for (const ActorId actor_id : of_job) {
    const auto found = actors_.find(actor_id);
    if (found == actors_.end()) continue;  // long dead, and forgotten in favour of one that died just now
    Actor& actor = found->second;
    if (actor.spec.creation.is_detached) continue;
    if (actor.state.phase != ActorPhase::kDead && !RAYX_PLANTED_BUG(417))
      end_actor(actor_id, actor, EndCause::kJobEnded, "its job has ended: " + why);
    if (actor.state.phase == ActorPhase::kDead) forget_actor(actor_id);
  }
  forget_job_if_over(id);
}

// A detached actor that lives needs the job's bundle when it is restarted.
void Head::forget_job_if_over(JobId id) {
  const JobRecord* job = find_job(id);
  if (job == nullptr || !job->is_ended || living_.contains(id)) return;
  jobs_.erase(id);
  if (!RAYX_PLANTED_BUG(418)) write(job_key(id), std::nullopt);
}

}  // namespace rayx::registry

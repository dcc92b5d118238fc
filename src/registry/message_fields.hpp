// The fields of each message, for the Writer and the Reader of record.hpp.
#pragma once

#include "registry/messages.hpp"
#include "registry/record.hpp"
#include "registry/records.hpp"

namespace rayx::registry {

inline bool is_sound(const Reader&, const RunningActor& it) { return is_amount(it.resources); }
inline bool is_sound(const Reader&, const Join& it) { return is_amount(it.resources) && are_sorted(it.labels); }
inline bool is_sound(const Reader&, const Demand& it) { return is_amount(it.each); }
inline bool is_sound(const Reader&, const NodeView& it) { return is_amount(it.total) && are_sorted(it.labels); }
inline bool is_sound(const Reader&, const PlaceActor& it) { return is_amount(it.resources); }

RAYX_FIELDS(RunningActor, it.actor, it.incarnation, it.resources, it.is_ended, it.is_alive)
RAYX_FIELDS(ChannelPosition, it.channel, it.epoch, it.number)
RAYX_FIELDS(Resume, it.cluster, it.jobs, it.actors, it.watched, it.channels)
RAYX_FIELDS(Join, it.protocol, it.build, it.node, it.session, it.is_first, it.kind, it.name, it.address, it.pid,
            it.resources, it.labels, it.resume)
RAYX_FIELDS(Demand, it.job, it.each, it.count)
RAYX_FIELDS(Load, it.used_by_tasks, it.queued, it.has_objects)
RAYX_FIELDS(Heartbeat, it.load, it.view_seen, it.published_seen, it.answered_below)
RAYX_FIELDS(Watch, it.actor, it.is_on)
RAYX_FIELDS(Subscribe, it.channel, it.is_on)
RAYX_FIELDS(PublishedSeen, it.count)
RAYX_FIELDS(StartJob, it.bundle, it.program, it.name_space)
RAYX_FIELDS(EndJob, it.job, it.why)
RAYX_FIELDS(LookUpJob, it.job)
RAYX_FIELDS(KillActor, it.actor, it.no_restart)
RAYX_FIELDS(ActorPlaced, it.actor, it.incarnation)
RAYX_FIELDS(ActorDied, it.actor, it.incarnation, it.cause, it.message)
RAYX_FIELDS(LookUpName, it.name_space, it.name, it.job)
RAYX_FIELDS(ListNames, it.name_space, it.after)
RAYX_FIELDS(ListWaiting)
RAYX_FIELDS(KvPut, it.name_space, it.key, it.value, it.overwrite)
RAYX_FIELDS(KvGet, it.name_space, it.key)
RAYX_FIELDS(KvDelete, it.name_space, it.key)
RAYX_FIELDS(KvKeys, it.name_space, it.prefix, it.after)
RAYX_FIELDS(Publish, it.channel, it.payload)
RAYX_FIELDS(DrainNode, it.node, it.within_ns, it.reason)
RAYX_FIELDS(DrainDone)
RAYX_FIELDS(Leave, it.why)
RAYX_FIELDS(Request, it.number, it.answered_below, it.body)

RAYX_FIELDS(Joined, it.cluster, it.epoch, it.heartbeat_ns, it.silence_ns, it.lease_ns)
RAYX_FIELDS(Refused, it.why, it.message)
RAYX_FIELDS(HeartbeatSeen)
RAYX_FIELDS(NodeView, it.node, it.state, it.kind, it.name, it.address, it.total, it.free, it.labels, it.reason,
            it.has_objects)
RAYX_FIELDS(View, it.version, it.is_full, it.is_last, it.nodes)
RAYX_FIELDS(JobEnded, it.job, it.why)
RAYX_FIELDS(PlaceActor, it.actor, it.incarnation, it.job, it.is_job_ended, it.resources, it.is_detached, it.is_restart,
            it.name, it.name_space, it.creation, it.site)
RAYX_FIELDS(EndActor, it.actor, it.incarnation, it.cause)
RAYX_FIELDS(ActorState, it.actor, it.phase, it.incarnation, it.node, it.cause, it.message, it.max_restarts,
            it.max_task_retries, it.job, it.is_detached)
RAYX_FIELDS(Drain, it.within_ns, it.reason)
RAYX_FIELDS(Subscribed, it.position, it.is_refused)
RAYX_FIELDS(Published, it.channel, it.epoch, it.number, it.missed, it.payload)

}  // namespace rayx::registry

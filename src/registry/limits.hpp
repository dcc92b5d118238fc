// Every limit and time of the registry, with its unit.
#pragma once

#include <cstddef>
#include <cstdint>

#include "base/clock.hpp"

namespace rayx::registry {

inline constexpr std::uint16_t kProtocolVersion = 2;

inline constexpr base::TimeNs kMillisecond_ns = 1'000'000;
inline constexpr base::TimeNs kSecond_ns = 1'000'000'000;

// Members and their link to the head.
inline constexpr base::TimeNs kHeartbeat_ns = 500 * kMillisecond_ns;
inline constexpr base::TimeNs kSilence_ns = 2'500 * kMillisecond_ns;  // of either side: it counts as gone
// Of a driver, while its connection stands: a debugger may have stopped it. The network closes that of a machine which is off.
inline constexpr base::TimeNs kDriverSilence_ns = 60'000 * kMillisecond_ns;
inline constexpr base::TimeNs kReconnectGrace_ns = 1'000 * kMillisecond_ns;  // after a closed connection
inline constexpr base::TimeNs kRejoinGrace_ns = 10'000 * kMillisecond_ns;    // after a start of the head, for all
inline constexpr base::TimeNs kLease_ns = 30'000 * kMillisecond_ns;          // without a head a member ends itself
inline constexpr base::TimeNs kDrainMax_ns =
    30LL * 24 * 3'600 * 1'000 * kMillisecond_ns;                              // that a drain may take: 30 days
inline constexpr base::TimeNs kReconnectPauseMin_ns = 100 * kMillisecond_ns;  // doubled after each attempt
inline constexpr base::TimeNs kReconnectPauseMax_ns = 2'000 * kMillisecond_ns;
inline constexpr base::TimeNs kConnectTimeout_ns = 3'000 * kMillisecond_ns;
inline constexpr base::TimeNs kStrangerTimeout_ns =
    5'000 * kMillisecond_ns;                                          // a connection that has not joined is closed
inline constexpr base::TimeNs kPulse_ns = 500 * kMillisecond_ns;      // the head is called at least so often
inline constexpr base::TimeNs kLateHead_ns = 500 * kMillisecond_ns;   // above this the head itself was away
inline constexpr base::TimeNs kViewPause_ns = 100 * kMillisecond_ns;  // between deltas of loads
// Of loads in views, to all members together. What all say to all is not to grow with the square of their number: where more
// nodes have changed than this allows, not everybody is told each time.
inline constexpr std::size_t kLoadsTold_per_second = 500'000;
// Between deltas of who came, who drains and who is gone, for each member: 0.25 s of 5,000.
inline constexpr base::TimeNs kNewsPauseOfMember_ns = 50'000;
// Nodes named in large views that are on their way to all members, about 90 MB: less than the silence at 1 Gbit/s. Who is to be told
// more waits, or the answers to all heartbeats would wait behind it. A member confirms a large view at once.
inline constexpr std::size_t kNamedInFlightMax = 1'000'000;
inline constexpr std::size_t kLargeView = 100;
inline constexpr base::TimeNs kNewsRetry_ns = 50 * kMillisecond_ns;  // when not all could be told
inline constexpr std::size_t kNodesOfOneView = 500;                  // in one message; a larger view is sent in several
inline constexpr std::size_t kMembersMax = 10'000;
inline constexpr std::size_t kStrangersMax = 1'000;  // connections that have not joined; more are closed
inline constexpr std::size_t kDeadRemembered =
    10'000;                                     // node ids that were declared dead; then the oldest is forgotten
inline constexpr std::size_t kDemandsMax = 64;  // of one heartbeat

// Requests.
inline constexpr std::size_t kOpenRequestsMax = 10'000;  // of one member, not answered; reports of actors come on top
inline constexpr std::size_t kKeptAnswersMax = 20'000;   // of one member, not known to have arrived
inline constexpr std::size_t kHeldMessagesMax =
    100'000;  // that wait for the disk, of one connection; then it is closed

// Jobs and actors.
inline constexpr std::size_t kJobsMax = 10'000;
inline constexpr std::size_t kActorsMax = 1'000'000;    // that are not dead
inline constexpr std::size_t kDeadActorsKept = 10'000;  // for who asks what became of them
inline constexpr std::uint32_t kStartsMax = 5;       // of a process that could not be started; then the actor is dead
inline constexpr std::size_t kWatchesMax = 100'000;  // of one member
inline constexpr std::size_t kNameBytesMax = 1'024;  // of names, namespaces and channels
inline constexpr std::size_t kCreationBytesMax = 512 * 1024;
inline constexpr std::size_t kSiteBytesMax = 1024 * 1024;  // CreateActor::site
inline constexpr std::size_t kMessageBytesMax = 4 * 1024;  // of a cause in words; the rest is cut off
inline constexpr std::uint32_t kForEver = UINT32_MAX;      // of restarts

// Keys and values.
inline constexpr std::size_t kKeyBytesMax = 1'024;
inline constexpr std::size_t kValueBytesMax = 512 * 1024;
inline constexpr std::size_t kStoredBytesMax = 256 * 1024 * 1024;  // of all keys and values
inline constexpr std::size_t kListedMax = 1'000;                   // names or keys of one answer

// Channels.
inline constexpr std::size_t kChannelsMax = 10'000;
inline constexpr std::size_t kPublishedBytesMax = 256 * 1024;
inline constexpr std::size_t kUnseenMax = 64;           // published to one member and not seen by it
inline constexpr std::size_t kPublishQueueMax = 1'000;  // messages that wait for one member; then the oldest is dropped

}  // namespace rayx::registry

#include "head_on_network.hpp"

#include <algorithm>

#include "cpu_clock.hpp"
#include "heap.hpp"
#include "registry/message_codec.hpp"

namespace rayx::sim {

using registry::ToHead;
using registry::ToMember;

// ---- The disk

void Disk::write(registry::BatchId batch, std::vector<registry::Write> writes, Traffic& traffic) {
  last_ = batch;
  for (registry::Write& write : writes) waiting_.push_back(std::move(write));
  if (!is_busy_) commit(traffic);
}

void Disk::commit(Traffic& traffic) {
  is_busy_ = true;
  ++traffic.commits;
  for (const registry::Write& write : waiting_)
    traffic.written_bytes += write.key.size() + (write.value ? write.value->size() : 0);
  events_.after(commit_ns_, [this, &traffic, life = life_, last = last_, writes = std::move(waiting_)]() mutable {
    if (life != life_) return;
    for (registry::Write& write : writes) {
      if (write.value) {
        pairs_[write.key] = std::move(*write.value);
      } else {
        pairs_.erase(write.key);
      }
    }
    is_busy_ = false;
    if (!waiting_.empty()) commit(traffic);
    durable_(last);
  });
  waiting_.clear();
}

void Disk::lose() {
  ++life_;
  is_busy_ = false;
  waiting_.clear();
}

// ---- The head

HeadOnNetwork::HeadOnNetwork(Events& events, Network& network, Disk& disk, Traffic& traffic, const Plan& plan,
                             HandedOut handed_out)
    : events_(events),
      network_(network),
      disk_(disk),
      traffic_(traffic),
      plan_(plan),
      handed_out_(std::move(handed_out)),
      head_(new registry::Head({.cluster = 1}, *this)) {}

TimeNs HeadOnNetwork::charged(const std::function<void()>& call, TimeNs fixed_ns) {
  if (plan_.head_call_ns != 0) {
    call();
    return fixed_ns;
  }
  const TimeNs before = thread_cpu_ns();
  call();
  return std::max<TimeNs>(0, thread_cpu_ns() - before - cpu_clock_cost_ns());
}

TimeNs HeadOnNetwork::begin(HostId host) {
  disk_.open([this](registry::BatchId batch) { push({Work::Kind::kPersisted, 0, 0, batch, {}}); });
  const std::vector<std::pair<std::string, std::string>> pairs(disk_.pairs().begin(), disk_.pairs().end());
  const TimeNs cost = charged(
      [&] {
        const auto restored = head_->restore(pairs, events_.now());
        RAYX_CHECK(restored, "a head cannot read what the one before wrote", restored.error().message);
      },
      plan_.head_call_ns);
  // It listens when it has read its records.
  is_busy_ = true;
  me_ = network_.attach(host, *this);
  events_.after(cost, [this, there = std::weak_ptr<bool>(is_there_)] {
    if (!there.expired()) next();
  });
  return cost;
}

std::size_t HeadOnNetwork::end() {
  network_.detach(me_, false);
  disk_.lose();
  inbox_.clear();
  said_.clear();
  sizes_.clear();
  const std::size_t before = heap_bytes();
  head_.reset();
  return before - heap_bytes();
}

void HeadOnNetwork::push(Work work) {
  work.since = events_.now();
  inbox_.push_back(std::move(work));
  if (!is_busy_) next();
}

// Lets out what the call before has said, and begins the next one.
void HeadOnNetwork::next() {
  let_out();
  is_busy_ = !inbox_.empty();
  if (!is_busy_) return arm();
  Work work = std::move(inbox_.front());
  inbox_.pop_front();
  ++traffic_.calls;
  traffic_.waited_ns_max = std::max(traffic_.waited_ns_max, events_.now() - work.since);
  TimeNs coding = 0;
  if (work.message) {
    const std::string bytes = registry::encode(*work.message);  // as the member does
    Traffic::Sum& sum = traffic_.in[work.message->index()];
    ++sum.messages;
    sum.bytes += bytes.size();
    coding += charged([&] { work.message = std::move(*registry::decode_to_head(bytes)); }, 0);
  }
  const TimeNs deciding = charged([&] { decide(std::move(work)); }, plan_.head_call_ns);
  coding += charged([&] { count_said(); }, 0);
  traffic_.deciding_ns += deciding;
  traffic_.coding_ns += coding;
  arm();
  events_.after(deciding + coding, [this, there = std::weak_ptr<bool>(is_there_)] {
    if (!there.expired()) next();
  });
}

void HeadOnNetwork::decide(Work work) {
  const TimeNs now = events_.now();
  switch (work.kind) {
    case Work::Kind::kOpened: return head_->on_opened(work.connection, now);
    case Work::Kind::kClosed: return head_->on_closed(work.connection, now);
    case Work::Kind::kMessage: return head_->on_message(work.connection, std::move(*work.message), now);
    case Work::Kind::kPersisted: return head_->on_persisted(work.batch, now);
    case Work::Kind::kTick: return head_->tick(now);
  }
}

std::size_t HeadOnNetwork::bytes_of(const ToMemberPtr& message) {
  if (message.use_count() == 1) return registry::encode(*message).size();  // nobody else is told this one
  constexpr std::size_t kKeptMax = 64;
  if (sizes_.size() > kKeptMax) sizes_.clear();
  const auto [it, is_new] = sizes_.try_emplace(message);
  if (is_new) it->second = registry::encode(*message).size();
  return it->second;
}

void HeadOnNetwork::count_said() {
  for (Said& it : said_) {
    if (it.message == nullptr) continue;
    it.bytes = bytes_of(it.message);
    Traffic::Sum& sum = traffic_.out[it.message->index()];
    ++sum.messages;
    sum.bytes += it.bytes;
    if (const auto* view = std::get_if<registry::View>(it.message.get())) traffic_.views_named += view->nodes.size();
  }
}

void HeadOnNetwork::let_out() {
  for (Said& it : std::exchange(said_, {})) {
    if (it.to == 0) {
      disk_.write(it.batch, std::move(it.writes), traffic_);
      continue;
    }
    const double seconds = static_cast<double>(it.bytes) / plan_.link_bytes_per_second;
    link_free_ = std::max(link_free_, events_.now()) + static_cast<TimeNs>(seconds * static_cast<double>(kSecond));
    traffic_.queued_ns_max = std::max(traffic_.queued_ns_max, link_free_ - events_.now());
    events_.at(link_free_, [this, there = std::weak_ptr<bool>(is_there_), said = std::move(it)]() mutable {
      if (!there.expired()) leave(std::move(said));
    });
  }
}

void HeadOnNetwork::leave(Said said) {
  if (said.message == nullptr) return network_.close(me_, said.to);
  if (const auto* place = std::get_if<registry::PlaceActor>(said.message.get())) handed_out_(place->actor);
  network_.send(me_, said.to, std::move(said.message));
}

void HeadOnNetwork::arm() {
  const TimeNs deadline = head_->next_deadline_ns();
  if (deadline >= armed_) return;
  armed_ = deadline;
  events_.at(deadline, [this, deadline, there = std::weak_ptr<bool>(is_there_)] {
    if (there.expired() || armed_ != deadline) return;
    armed_ = base::kNever;
    push({Work::Kind::kTick, 0, 0, 0, {}});
  });
}

}  // namespace rayx::sim

#include "head_host.hpp"

#include <utility>

#include "base/check.hpp"

namespace rayx::sim {

void HeadHost::start() {
  process_ = std::make_unique<Process>(*this, ++life_);
  process_->me = network_.attach(host_, *process_);
  const Result<void> restored = process_->head.restore({disk_.begin(), disk_.end()}, events_.now());
  RAYX_CHECK(bool(restored), "a head cannot read what the one before wrote", life_);
  process_->arm();
}

void HeadHost::kill() {
  if (process_ == nullptr) return;
  network_.detach(process_->me, false);
  // What it has not written is lost.
  events_.after(0, [this, gone = std::shared_ptr<Process>(std::move(process_))] { static_cast<void>(gone); });
  ++life_;
  events_.after(chance_.between(kMillisecond, kSecond), [this] { start(); });
}

HeadHost::Process::Process(HeadHost& of, std::uint64_t my_life)
    : host(of),
      life(my_life),
      head(registry::HeadOptions{.cluster = 7, .driver_silence_ns = registry::kSilence_ns}, *this) {}

void HeadHost::Process::arm() {
  const TimeNs deadline = head.next_deadline_ns();
  if (deadline >= armed) return;
  armed = deadline;
  host.events_.at(deadline, [&at = host, mine = life, deadline] {
    if (at.life_ != mine || at.process_->armed != deadline) return;
    at.process_->armed = base::kNever;
    at.process_->head.tick(at.events_.now());
    at.process_->arm();
  });
}

void HeadHost::Process::on_accepted(ConnectionId connection) {
  head.on_opened(connection, host.events_.now());
  arm();
}
void HeadHost::Process::on_closed(ConnectionId connection) {
  head.on_closed(connection, host.events_.now());
  arm();
}
void HeadHost::Process::on_message(ConnectionId connection, registry::ToHead message) {
  head.on_message(connection, std::move(message), host.events_.now());
  arm();
}
void HeadHost::Process::send(ConnectionId to, registry::ToMember message) {
  host.network_.send(me, to, std::make_shared<const registry::ToMember>(std::move(message)));
}
void HeadHost::Process::send_shared(ConnectionId to, const registry::SharedMessage& message) {
  host.network_.send(me, to, message);
}
void HeadHost::Process::close(ConnectionId connection) { host.network_.close(me, connection); }

void HeadHost::Process::persist(registry::BatchId batch, std::vector<registry::Write> writes) {
  Chance& chance = host.chance_;
  const TimeNs delay =
      chance.one_in(40) ? chance.between(kMillisecond, 200 * kMillisecond) : chance.between(10'000, kMillisecond);
  host.disk_due_ = std::max(host.disk_due_, host.events_.now() + delay);
  host.events_.at(host.disk_due_, [&at = host, mine = life, batch, writes = std::move(writes)] {
    if (at.life_ != mine) return;
    for (const registry::Write& write : writes) {
      if (write.value) {
        at.disk_[write.key] = *write.value;
      } else {
        at.disk_.erase(write.key);
      }
    }
    at.process_->head.on_persisted(batch, at.events_.now());
    at.process_->arm();
  });
}

}  // namespace rayx::sim

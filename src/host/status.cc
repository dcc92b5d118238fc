#include "host/status.hpp"

#include <cstring>
#include <future>
#include <utility>

#include "host/network.hpp"
#include "registry/message_fields.hpp"

namespace rayx::host {

using registry::Reader;
using registry::Writer;

RAYX_FIELDS(ClusterReport::Actor, it.actor, it.phase, it.restarts, it.node, it.job, it.name_space, it.name,
            it.is_feasible, it.is_detached)
RAYX_FIELDS(ClusterReport, it.cluster, it.epoch, it.nodes, it.queued, it.jobs, it.actors_total, it.actors)

namespace {

struct Deaf final : wire::LinkHandler {
  void on_control(std::span<const std::byte>) override {}
  std::span<std::byte> on_payload(const wire::PayloadChunk&) override { return {}; }
  void on_payload_end(const wire::PayloadChunk&) override {}
  void on_closed(const wire::CloseReason&) override {}
};

}  // namespace

ClusterReport make_report(const registry::Head& head) {
  ClusterReport report;
  report.cluster = head.cluster();
  report.epoch = head.epoch();
  report.nodes = head.nodes();
  for (const auto& [node, load] : head.loads())
    report.queued.insert(report.queued.end(), load.queued.begin(), load.queued.end());
  report.jobs = head.jobs();
  for (registry::Head::ActorInfo& actor : head.actors()) {
    if (actor.phase == registry::ActorPhase::kDead) continue;
    if (++report.actors_total > ClusterReport::kActorsMax) continue;
    report.actors.push_back({actor.actor, actor.phase, actor.restarts, actor.node, actor.job,
                             std::move(actor.name_space), std::move(actor.name), actor.is_feasible, actor.is_detached});
  }
  return report;
}

void send_report(const registry::Head& head, std::unique_ptr<wire::Link> link) {
  const std::string bytes = registry::to_bytes(make_report(head));
  static Deaf nobody_listens;
  link->open(nobody_listens);
  link->send(std::as_bytes(std::span(bytes)));  // and goodbye: the link ends here
}

Result<ClusterReport> decode_report(std::span<const std::byte> bytes) {
  auto report = registry::from_bytes<ClusterReport>({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  if (report) return std::move(*report);
  return Error{ErrorCode::kMalformed,
               "rayx: the head's report cannot be read; use the same version of rayx everywhere"};
}

namespace {

// Everything on the loop's thread.
class Question final : public wire::LinkHandler {
 public:
  std::future<Result<ClusterReport>> begin(wire::Loop& loop, const wire::Endpoint& head, const wire::LinkConfig& config,
                                           std::chrono::milliseconds timeout) {
    connector_ = std::make_unique<wire::Connector>(
        loop, head, config,
        [this](Result<std::unique_ptr<wire::Link>> made) {
          if (!made) return tell(Error{made.error().code, "rayx: " + made.error().message});
          link_ = std::move(*made);
          link_->open(*this);
        },
        timeout);
    return answer_.get_future();
  }
  void tell(Result<ClusterReport> result) {
    if (!std::exchange(is_told_, true)) answer_.set_value(std::move(result));
  }
  void end() { connector_.reset(), link_.reset(); }

 private:
  void on_control(std::span<const std::byte> bytes) override { tell(decode_report(bytes)); }
  std::span<std::byte> on_payload(const wire::PayloadChunk&) override { return {}; }
  void on_payload_end(const wire::PayloadChunk&) override {}
  void on_closed(const wire::CloseReason& reason) override {
    tell(Error{ErrorCode::kSystemError, "rayx: no report came: " + reason.message});
  }

  std::unique_ptr<wire::Connector> connector_;
  std::unique_ptr<wire::Link> link_;
  std::promise<Result<ClusterReport>> answer_;
  bool is_told_ = false;
};

}  // namespace

Result<ClusterReport> ask_for_report(const wire::Endpoint& head, const wire::Token& token, wire::TlsPolicy tls,
                                     std::chrono::milliseconds timeout) {
  Result<std::unique_ptr<Network>> network = Network::start();
  if (!network) return std::move(network).error();
  wire::LinkConfig config{token, tls, {}, {}};
  config.set_hello(kStatusHello);
  config.options.control_bytes_max = wire::kControlBytesCeiling;
  Question question;
  auto answer = (*network)->call([&] { return question.begin((*network)->loop(), head, config, timeout); });
  const bool has_come = answer.wait_for(2 * timeout) == std::future_status::ready;
  (*network)->call([&] { question.end(); });
  if (has_come) return answer.get();
  return Error{ErrorCode::kTimeout, "rayx: the head at " + head.text() + " does not answer"};
}

}  // namespace rayx::host

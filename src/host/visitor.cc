#include "host/visitor.hpp"

#include <unistd.h>

#include <future>
#include <memory>
#include <utility>

#include "head/member_link.hpp"
#include "host/daemon.hpp"
#include "host/network.hpp"

namespace rayx::host {
namespace {

// Loop's thread.
class Visitor final : public head::MemberHandler {
 public:
  Visitor(NodeQuestion ask, std::chrono::milliseconds timeout) : ask_(std::move(ask)), timeout_(timeout) {}

  std::future<Result<registry::Answer>> begin(wire::Loop& loop, const wire::Endpoint& head, wire::LinkConfig config) {
    registry::Identity identity;
    identity.node = random_node_id();
    identity.kind = registry::MemberKind::kClient;
    identity.name = host_name();
    identity.pid = static_cast<std::uint32_t>(::getpid());
    member_ = std::make_unique<head::MemberLink>(loop, head, std::move(config), std::move(identity),
                                                 static_cast<head::MemberHandler&>(*this));
    member_->start();
    return outcome_.get_future();
  }
  void end() { member_.reset(); }
  void tell(Result<registry::Answer> outcome) {
    if (!std::exchange(is_told_, true)) outcome_.set_value(std::move(outcome));
  }
  Error too_late() const {
    return {ErrorCode::kTimeout, "rayx: the head at " + member_->head().text() + " did not answer within " +
                                     std::to_string(timeout_.count()) + " ms. " + problem_};
  }

 private:
  void is_joined() override {
    if (std::exchange(has_asked_, true)) return;  // another link: the question is repeated by itself
    Result<registry::RequestBody> body = ask_(member_->member().nodes());
    if (!body) return leave_with(std::move(body).error());
    member_->request(std::move(*body), [this](const registry::Answer& answer) { leave_with(answer); });
  }
  void leave_with(Result<registry::Answer> outcome) {
    answer_ = std::make_unique<Result<registry::Answer>>(std::move(outcome));
    member_->member().leave("it has its answer");
  }
  void left() override { tell(std::move(*answer_)); }
  void is_over(const std::string& message) override { tell(Error{ErrorCode::kSystemError, "rayx: " + message}); }
  void start_anew(const std::string& message) override { is_over(message); }
  void head_is_away(const Error& error) override {
    problem_ = error.message;
    if (is_no_head(error)) tell(Error{error.code, "rayx: " + error.message});
  }
  void node_changed(const registry::NodeView&) override {}
  void start_actor(const registry::PlaceActor&) override {}
  void end_actor(registry::ActorId, registry::Incarnation, registry::EndCause) override {}
  void job_ended(registry::JobId, const std::string&) override {}
  void job_over(registry::JobId) override {}
  void actor_changed(const registry::ActorState&) override {}
  void subscribed(const std::string&, bool) override {}
  void published(const registry::Published&) override {}
  void missed(const std::string&, std::optional<std::uint64_t>) override {}
  void drain(base::TimeNs, const std::string&) override {}

  const NodeQuestion ask_;
  const std::chrono::milliseconds timeout_;
  std::unique_ptr<head::MemberLink> member_;
  std::promise<Result<registry::Answer>> outcome_;
  std::unique_ptr<Result<registry::Answer>> answer_;
  bool has_asked_ = false;
  bool is_told_ = false;
  std::string problem_;
};

}  // namespace

Result<registry::Answer> ask_head(const wire::Endpoint& head, const wire::Token& token, wire::TlsPolicy tls,
                                  NodeQuestion ask, std::chrono::milliseconds timeout) {
  Result<std::unique_ptr<Network>> network = Network::start();
  if (!network) return std::move(network).error();
  Visitor visitor(std::move(ask), timeout);
  auto outcome = (*network)->call([&] {
    return visitor.begin((*network)->loop(), head, wire::LinkConfig{token, tls, {}, {}});
  });
  const bool has_come = outcome.wait_for(timeout) == std::future_status::ready;
  (*network)->call([&] {
    if (!has_come) visitor.tell(visitor.too_late());
    visitor.end();
  });
  return outcome.get();
}

Result<registry::NodeId> find_node(const NodeViews& nodes, const std::string& text) {
  std::vector<registry::NodeId> found;
  for (const auto& [id, view] : nodes)
    if (view.kind == registry::MemberKind::kNode && (base::to_text(id) == text || view.name == text))
      found.push_back(id);
  if (found.size() == 1) return found.front();
  return Error{ErrorCode::kInvalidConfig,
               found.empty() ? "rayx: the cluster has no node \"" + text + "\"; `rayx nodes` lists them"
                             : "rayx: " + std::to_string(found.size()) + " nodes are called \"" + text +
                                   "\"; name one by its id, which `rayx nodes` shows"};
}

}  // namespace rayx::host

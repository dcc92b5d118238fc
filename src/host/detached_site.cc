#include "host/detached_site.hpp"

#include <chrono>
#include <utility>

#include "host/daemon.hpp"

namespace rayx::host {
namespace {

// The program's driver may be sending it, to the site of its own.
constexpr std::chrono::seconds kSendingPatience{30};
constexpr std::chrono::milliseconds kStageAgainPause{100};
constexpr std::chrono::milliseconds kLinger{500};

}  // namespace

void DetachedSite::begin(OpenSite about) {
  about_ = std::move(about);
  until_ns_ = daemon_.network_->loop().now_ns() + std::chrono::nanoseconds(kSendingPatience).count();
  stage();
}

void DetachedSite::stage() {
  state_ = State::kStaging;
  timer_ = 0;
  job_ = std::make_shared<Job>(about_, true, daemon_.config_.resources, *daemon_.cache_, *daemon_.network_,
                               *daemon_.bench_, static_cast<SitePlaces::Host&>(daemon_));
  job_->stage([self = shared_from_this()](Result<Missing> missing) {
    if (self->state_ != State::kStaging) return;
    if (!missing) return self->fail(missing.error().message);
    if (missing->files.empty()) return self->start();
    self->look_for_files(std::move(*missing));
  });
}

void DetachedSite::look_for_files(Missing missing) {
  wire::Loop& loop = daemon_.network_->loop();
  if (daemon_.server_of(job()) != nullptr && loop.now_ns() < until_ns_) {
    state_ = State::kWaiting;
    job_->end({});
    timer_ = loop.call_after(kStageAgainPause, [self = shared_from_this()] { self->stage(); });
    return;
  }
  missing_ = std::move(missing);
  state_ = State::kFetching;
  ask_next_node();
}

// One after the other: most have it, as their driver has sent it to all that there were.
void DetachedSite::ask_next_node() {
  const registry::NodeView* const next = daemon_.node_after(asked_);
  if (next == nullptr) return fail("no node of the cluster has the program of its job any more");
  asked_ = next->node;
  const Result<wire::Endpoint> endpoint = wire::Endpoint::parse(next->address);
  if (!endpoint) return ask_next_node();
  fetch_ = std::make_shared<FilesFetch>(daemon_.network_->loop(), job_, missing_,
                                        [self = shared_from_this()](const Result<void>& fetched) {
                                          if (self->state_ != State::kFetching) return;
                                          if (fetched) return self->start();
                                          // Whatever has come of it is not whole.
                                          self->job_->end({});
                                          self->stage();
                                        });
  fetch_->begin(*endpoint, wire::LinkConfig{daemon_.config_.token, daemon_.config_.tls, {}, {}});
}

void DetachedSite::start() {
  state_ = State::kStarting;
  job_->start([self = shared_from_this()](Result<void> started) {
    if (self->state_ != State::kStarting) return self->job_->end({});  // it has ended meanwhile
    if (!started) return self->fail(started.error().message);
    self->state_ = State::kOpen;
    self->daemon_.log("detached actors of job " + self->about_.name + " began");
    self->open_places();
  });
}

void DetachedSite::is_needed(bool is_needed) {
  wire::Loop& loop = daemon_.network_->loop();
  if (end_timer_ != 0) loop.cancel(std::exchange(end_timer_, 0));
  if (is_needed || state_ == State::kEnded) return;
  end_timer_ = loop.call_after(kLinger, [self = shared_from_this()] {
    self->end_timer_ = 0;
    self->end("none is left");
  });
}

void DetachedSite::fail(const std::string& why) {
  daemon_.waiting_detached_fail(job(), why);
  end(why);
}

void DetachedSite::end(const std::string& why) {
  const State before = std::exchange(state_, State::kEnded);
  if (before == State::kEnded) return;
  const std::shared_ptr<DetachedSite> self = shared_from_this();
  wire::Loop& loop = daemon_.network_->loop();
  loop.cancel(std::exchange(timer_, 0));
  loop.cancel(std::exchange(end_timer_, 0));
  if (fetch_ != nullptr) std::exchange(fetch_, nullptr)->end();
  if (before == State::kOpen) {
    close_places(why);
    daemon_.log("detached actors of job " + about_.name + " ended: " + why);
  }
  if (before == State::kOpen || before == State::kStaging || before == State::kFetching) job_->end({});
  daemon_.forget(this);
}

}  // namespace rayx::host

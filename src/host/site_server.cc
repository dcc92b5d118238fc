#include "host/site_server.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>
#include <variant>

namespace rayx::host {

void SiteServer::on_control(std::span<const std::byte> bytes) {
  if (state_ == State::kOpen || state_ == State::kEnding) {
    relay::FrameHead head{};
    relay::OutputHead seen{};
    relay::FrameReader reader(bytes);
    if (reader.take(head) && head.kind == relay::FrameKind::kOutputSeen && reader.take(seen))
      return output_was_seen(seen.bytes);
    if (state_ == State::kEnding) return;
    if (head.kind == relay::FrameKind::kEnd) return end_job();
    const Result<void> received = job_->site()->relay().receive(peer_id_, bytes);
    if (!received) fail(received.error().message);
    return;
  }
  const Result<SiteMessage> message = decode_site_message(bytes);
  if (!message) return fail(message.error().message);
  handle(*message);
}

void SiteServer::handle(const SiteMessage& message) {
  if (state_ == State::kNew && std::holds_alternative<OpenSite>(message)) return begin(std::get<OpenSite>(message));
  fail("rayx: the site of a job sent a message that does not belong here");
}

void SiteServer::begin(OpenSite open) {
  state_ = State::kAsking;
  // The one that is meant is gone, and the head will say so.
  if (open.node != daemon_.member_->member().identity().node)
    return link_->close("rayx: another node has this address now");
  // Its driver has given the link of the one before up, which may be long before this end notices.
  if (HostedSite* const before = daemon_.server_of(open.job)) before->end("its program has made another link");
  job_ = std::make_shared<Job>(std::move(open), false, daemon_.config_.resources, *daemon_.cache_, *daemon_.network_,
                               *daemon_.bench_, static_cast<SitePlaces::Host&>(daemon_));
  daemon_.admit(job(), [self = shared_from_this()](Result<void> admitted) {
    if (self->state_ != State::kAsking) return;
    if (!admitted) return self->fail(admitted.error().message);
    self->stage();
  });
}

void SiteServer::stage() {
  state_ = State::kStaging;
  job_->stage([self = shared_from_this()](Result<Missing> missing) {
    if (self->state_ != State::kStaging) return;
    if (!missing) return self->fail(missing.error().message);
    if (missing->bytes == 0) return self->start();
    self->state_ = State::kReceiving;
    self->bytes_to_come_ = missing->bytes;
    self->link_->send(encode(NeedFiles{std::move(missing->files)}));
  });
}

std::span<std::byte> SiteServer::on_payload(const wire::PayloadChunk& chunk) {
  reading_ = chunk.stream;
  if (state_ == State::kOpen)
    return job_->site()->relay().place_for_value(peer_id_, chunk.stream, chunk.offset, chunk.bytes);
  if (state_ != State::kReceiving || chunk.bytes > bytes_to_come_) return {};
  chunk_.resize(chunk.bytes);
  return chunk_;
}

void SiteServer::on_payload_end(const wire::PayloadChunk& chunk) {
  reading_.reset();
  if (state_ == State::kOpen) return job_->site()->relay().value_arrived(peer_id_, chunk.stream, chunk.bytes);
  if (state_ != State::kReceiving) return;
  if (++chunks_on_their_way_ >= Job::kRunsWaitingMax) link_->pause_reading();  // the disk is slower than the network
  job_->append(static_cast<std::uint32_t>(chunk.stream), std::exchange(chunk_, {}), [self = shared_from_this()] {
    --self->chunks_on_their_way_;
    if (self->link_ != nullptr) self->link_->resume_reading();
  });
  bytes_to_come_ -= chunk.bytes;
  if (bytes_to_come_ == 0) start();
}

void SiteServer::start() {
  state_ = State::kStarting;
  job_->start([self = shared_from_this()](Result<void> started) {
    if (self->state_ != State::kStarting) {  // its opener has gone meanwhile
      self->job_->close_output();
      return self->job_->end({});
    }
    if (!started) return self->fail(started.error().message);
    self->state_ = State::kOpen;
    self->link_->send(encode(Opened{}));
    self->peer_ = std::make_shared<NetworkPeer>(self->daemon_.network_->loop(), *self->link_);
    self->peer_id_ =
        self->relay().add_peer("the driver at " + self->link_->peer().text(), self->peer_, self->job_->about().driver);
    self->open_places();
    for (const bool is_err : {false, true}) {
      wire::Watch& watch = is_err ? self->err_watch_ : self->out_watch_;
      const int fd = is_err ? self->job_->err() : self->job_->out();
      SiteServer* const server = self.get();  // ends the watch before itself
      if (watch.begin(self->daemon_.network_->loop(), fd, [server, is_err] { server->read_output(is_err); }, {}))
        watch.want_readable();
    }
    self->daemon_.log("job " + self->job_->about().name + " from " + self->link_->peer().text() + " began");
  });
}

// False: there is nothing at present, or there never will be.
bool SiteServer::forward_output(bool is_err) {
  std::vector<std::byte> text(64u << 10);
  const ssize_t bytes = ::read(is_err ? job_->err() : job_->out(), text.data(), text.size());
  if (bytes <= 0) return false;
  text.resize(static_cast<std::size_t>(bytes));
  relay::FrameWriter frame;
  frame.add(relay::FrameKind::kOutput, relay::OutputHead{is_err ? 1u : 0u, 0, text.size()});
  frame.put_bytes(text);
  peer_->send(frame.finish());
  output_unseen_ += text.size();
  return true;
}

void SiteServer::read_output(bool is_err) {
  const bool is_readable = forward_output(is_err) || errno == EAGAIN || errno == EINTR;
  if (is_readable && output_unseen_ < kOutputUnseenMax) (is_err ? err_watch_ : out_watch_).want_readable();
}

void SiteServer::output_was_seen(std::uint64_t bytes) {
  const bool was_full = output_unseen_ >= kOutputUnseenMax;
  output_unseen_ -= std::min(bytes, output_unseen_);
  if (!was_full || output_unseen_ >= kOutputUnseenMax) return;
  out_watch_.want_readable();
  err_watch_.want_readable();
}

// The driver is about to leave. It waits until its processes here have ended and it has seen what they printed.
void SiteServer::end_job() {
  state_ = State::kEnding;
  stop_reading();
  close_places("the program has ended");
  relay().remove_peer(peer_id_, "the driver has ended");
  job_->end([self = shared_from_this()] {
    if (self->state_ != State::kEnding) return;
    self->out_watch_.end();
    self->err_watch_.end();
    // Nobody writes there any more, and pipes are small.
    while (self->forward_output(false) || self->forward_output(true)) {
    }
    self->daemon_.log("job " + self->job_->about().name + " from " + self->link_->peer().text() + " ended");
    self->peer_->hand_over();
    self->link_->close("the job has ended");
  });
}

void SiteServer::on_writable() {
  if (peer_ != nullptr) peer_->became_writable();
  if (state_ != State::kOpen) return;
  job_->site()->relay().peer_is_writable(peer_id_);
}

// The memory that a chunk is read into is about to go.
void SiteServer::stop_reading() {
  if (reading_) link_->drop_chunk(*reading_);
  reading_.reset();
}

void SiteServer::fail(const std::string& why) {
  daemon_.log_refusal(link_->peer(), why);
  if (state_ != State::kOpen) link_->send(encode(Failed{why}));
  link_->close(why);
}

void SiteServer::on_closed(const wire::CloseReason& reason) {
  if (reason.kind == wire::CloseKind::kBroken && state_ != State::kOpen)
    daemon_.log_refusal(link_->peer(), reason.message);
  end(reason.message);
}

void SiteServer::end(const std::string& why) {
  const State before = std::exchange(state_, State::kEnded);
  if (before == State::kEnded) return;
  const std::shared_ptr<SiteServer> self = shared_from_this();
  stop_reading();
  out_watch_.end();
  err_watch_.end();
  if (peer_ != nullptr) peer_->close();
  if (before == State::kOpen) {
    close_places(why);
    job_->site()->relay().remove_peer(peer_id_, why);
    daemon_.log("job " + job_->about().name + " from " + link_->peer().text() + " ended: " + why);
  }
  if (before == State::kOpen || before == State::kEnding) job_->close_output();
  if (job_ != nullptr && before != State::kStarting && before != State::kEnding) job_->end({});
  daemon_.forget(this);
  link_->close(why);
  daemon_.network_->loop().post([self] { self->link_.reset(); });  // not inside a call of its own
}

}  // namespace rayx::host

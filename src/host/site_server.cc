#include "host/site_server.hpp"

#include <utility>
#include <variant>

namespace rayx::host {

void SiteServer::on_control(std::span<const std::byte> bytes) {
  if (state_ == State::kOpen) {
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
  state_ = State::kStaging;
  job_ = std::make_shared<Job>(std::move(open), daemon_.config_.resources, daemon_.cache_, *daemon_.network_,
                               daemon_.bench_);
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
  if (state_ != State::kReceiving || chunk.bytes > bytes_to_come_) return {};
  chunk_.resize(chunk.bytes);
  return chunk_;
}

void SiteServer::on_payload_end(const wire::PayloadChunk& chunk) {
  if (++chunks_on_their_way_ >= kChunksOnTheirWayMax) link_->pause_reading();  // the disk is slower than the network
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
    if (self->state_ != State::kStarting) return self->job_->end();  // its opener has gone meanwhile
    if (!started) return self->fail(started.error().message);
    self->state_ = State::kOpen;
    self->link_->send(encode(Opened{}));
    self->peer_ = std::make_shared<NetworkPeer>(self->daemon_.network_->loop(), *self->link_);
    self->peer_id_ = self->job_->site()->relay().add_peer("the driver at " + self->link_->peer().text(), self->peer_);
    self->daemon_.log("job " + self->job_->about().name + " from " + self->link_->peer().text() + " began");
  });
}

void SiteServer::on_writable() {
  if (peer_ == nullptr) return;
  peer_->became_writable();
  job_->site()->relay().peer_is_writable(peer_id_);
}

void SiteServer::fail(const std::string& why) {
  daemon_.log(why);
  if (state_ != State::kOpen) link_->send(encode(Failed{why}));
  link_->close(why);
}

void SiteServer::on_closed(const wire::CloseReason& reason) { end(reason.message); }

void SiteServer::end(const std::string& why) {
  const State before = std::exchange(state_, State::kEnded);
  if (before == State::kEnded) return;
  const std::shared_ptr<SiteServer> self = shared_from_this();
  if (before == State::kOpen) {
    peer_->close();
    job_->site()->relay().remove_peer(peer_id_, why);
    daemon_.log("job " + job_->about().name + " from " + link_->peer().text() + " ended: " + why);
  }
  if (job_ != nullptr && before != State::kStarting) job_->end();
  daemon_.forget(this);
  link_->close(why);
  daemon_.network_->loop().post([self] { self->link_.reset(); });  // not inside a call of its own
}

}  // namespace rayx::host

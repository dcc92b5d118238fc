#include "wire/link.hpp"

#include "base/check.hpp"
#include "wire/channel.hpp"

namespace rayx::wire {

Link::Link(std::shared_ptr<Channel> channel) : channel_(std::move(channel)) {}
Link::~Link() {
  if (channel_) channel_->abandon();
}

std::span<const std::byte> Link::peer_hello() const { return channel_->peer_hello(); }
const Endpoint& Link::peer() const { return channel_->peer(); }
bool Link::is_encrypted() const { return channel_->is_encrypted(); }
void Link::open(LinkHandler& handler) { channel_->open(handler); }
Sent Link::send(std::span<const std::byte> control) { return channel_->send(control); }
Sent Link::send_payload(std::uint64_t stream, std::uint64_t offset, std::span<const std::byte> bytes, PayloadDone done,
                        std::shared_ptr<void> keep) {
  RAYX_CHECK(bytes.size() <= kPayloadBytesMax, "a chunk may not have so many bytes", bytes.size());
  return channel_->send_payload({stream, offset, static_cast<std::uint32_t>(bytes.size())}, bytes.data(),
                                std::move(done), std::move(keep));
}
std::size_t Link::queued_bytes() const { return channel_->queued_bytes(); }
void Link::set_heartbeat_timeout(std::chrono::milliseconds timeout) { channel_->set_heartbeat_timeout(timeout); }
void Link::drop_chunk(std::uint64_t stream) { channel_->drop_chunk(stream); }
void Link::pause_reading() { channel_->pause_reading(); }
void Link::resume_reading() { channel_->resume_reading(); }
void Link::close(std::string reason) { channel_->close(std::move(reason)); }

}  // namespace rayx::wire

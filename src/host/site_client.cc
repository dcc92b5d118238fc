#include "host/site_client.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>
#include <variant>

#include "bundle/file_error.hpp"
#include "host/program_files.hpp"

namespace rayx::host {

void SiteClient::begin(const wire::Endpoint& endpoint, const wire::Token& token, wire::TlsPolicy tls,
                       std::function<void(Result<void>)> answer, std::function<void(const std::string&)> lost) {
  answer_ = std::move(answer);
  lost_ = std::move(lost);
  name_ = endpoint.text();
  wire::LinkConfig config{token, tls, {}, {}};
  config.set_hello(kSiteHello);
  config.options.control_bytes_max = wire::kControlBytesCeiling;
  config.options.resume_patience = wire::kResumePatience;
  connector_ = std::make_unique<wire::Connector>(
      network_.loop(), endpoint, config, [self = shared_from_this()](Result<std::unique_ptr<wire::Link>> made) {
        if (!made) {
          self->tell(Error{made.error().code, made.error().message});
          return self->network_.loop().post([self, why = made.error().message] { self->tell_lost(why); });
        }
        self->link_ = std::move(*made);
        self->link_->open(*self);
        OpenSite open = self->about_->open;
        open.node = self->id_;
        self->link_->send(encode(open));
      });
}

void SiteClient::tell(Result<void> outcome) {
  if (answer_) std::exchange(answer_, nullptr)(std::move(outcome));
}

void SiteClient::tell_lost(const std::string& why) {
  if (lost_) std::exchange(lost_, nullptr)(why);
}

void SiteClient::on_control(std::span<const std::byte> bytes) {
  if (peer_ != nullptr) {
    if (show_output(bytes)) return;
    const Result<void> received = relay_.receive(peer_id_, bytes);
    if (!received) return link_->close(received.error().message);
    return tell({});  // the first frame says what the node has for this job
  }
  Result<SiteMessage> message = decode_site_message(bytes);
  if (!message) {
    tell(message.error());
    return link_->close(message.error().message);
  }
  if (const auto* need = std::get_if<NeedFiles>(&*message)) {
    wanted_ = need->files;
    const auto is_ours = [this](std::uint32_t file) { return file < about_->program.manifest.files.size(); };
    if (!std::all_of(wanted_.begin(), wanted_.end(), is_ours))
      return link_->close("rayx: the node asked for a file that the program does not have");
    return send_files();
  }
  if (const auto* failed = std::get_if<Failed>(&*message))
    return tell(Error{ErrorCode::kSystemError, "the node " + name_ + " could not start the program: " + failed->why});
  if (std::holds_alternative<Opened>(*message)) {
    peer_ = std::make_shared<NetworkPeer>(network_.loop(), *link_);
    peer_id_ = relay_.add_peer("the node " + name_, peer_, id_);
    return;
  }
  link_->close("rayx: the node sent a message that does not belong here");
}

bool SiteClient::show_output(std::span<const std::byte> frame) {
  relay::FrameHead head{};
  relay::OutputHead about{};
  std::span<const std::byte> text;
  relay::FrameReader reader(frame);
  if (!reader.take(head) || head.kind != relay::FrameKind::kOutput) return false;
  if (!reader.take(about) || !reader.take_bytes(about.bytes, text)) return false;
  node_.show(about.is_err != 0, {reinterpret_cast<const char*>(text.data()), text.size()},
             [peer = peer_, bytes = about.bytes] {
               relay::FrameWriter seen;
               seen.add(relay::FrameKind::kOutputSeen, relay::OutputHead{0, 0, bytes});
               peer->send(seen.finish());
             });
  return true;
}

void SiteClient::leave(std::function<void()> left) {
  if (peer_ == nullptr || link_ == nullptr) return left();
  left_ = std::move(left);
  relay::FrameWriter end;
  end.add(relay::FrameKind::kEnd, relay::OutputHead{});
  peer_->send(end.finish());
}

void SiteClient::send_files() {
  while (next_ < wanted_.size()) {
    const std::uint32_t file = wanted_[next_];
    const std::uint64_t size = about_->program.manifest.files[file].bytes;
    if (!file_) {
      Result<base::UniqueFd> opened = about_->program.open(file);
      if (!opened) {
        tell(opened.error());
        return link_->close(opened.error().message);
      }
      file_ = std::move(*opened);
      offset_ = 0;
    }
    const FileSent sent = send_file(*link_, file, file_.get(), size, offset_);
    if (sent == FileSent::kUnreadable) {
      const Error error = bundle::file_error("reading the program's file", about_->program.sources[file], errno);
      tell(error);
      return link_->close(error.message);
    }
    if (sent == FileSent::kInPart) return;
    file_ = {};
    ++next_;
  }
  wanted_.clear();
  next_ = 0;
}

void SiteClient::on_writable() {
  if (peer_ != nullptr) {
    peer_->became_writable();
    return relay_.peer_is_writable(peer_id_);
  }
  if (!wanted_.empty()) send_files();
}

void SiteClient::on_closed(const wire::CloseReason& reason) {
  network_.loop().cancel(std::exchange(drain_timer_, 0));
  if (peer_ != nullptr) {
    peer_->close();
    relay_.remove_peer(peer_id_, reason.message);
  }
  tell(Error{ErrorCode::kSystemError, "the link to the node " + name_ + " ended: " + reason.message});
  if (left_) std::exchange(left_, nullptr)();
  network_.loop().post([self = shared_from_this(), why = reason.message] {
    self->link_.reset();
    self->tell_lost(why);
  });
}

void SiteClient::drain() {
  if (peer_ == nullptr || drain_timer_ != 0) return;
  relay_.retire_peer(peer_id_);
  leave_when_idle();
}

void SiteClient::leave_when_idle() {
  constexpr std::chrono::milliseconds kLook{50};
  drain_timer_ = 0;
  if (peer_ == nullptr) return;
  if (relay_.is_peer_idle(peer_id_)) return leave([] {});
  drain_timer_ = network_.loop().call_after(kLook, [this] { leave_when_idle(); });
}

void SiteClient::end() {
  network_.loop().cancel(std::exchange(drain_timer_, 0));
  connector_.reset();
  answer_ = nullptr;
  lost_ = nullptr;
  if (peer_ != nullptr) {
    peer_->close();
    relay_.remove_peer(peer_id_, "the driver ends");
  }
  peer_.reset();
  link_.reset();
}

}  // namespace rayx::host

#include "head/head_server.hpp"

#include <random>
#include <string_view>
#include <utility>

#include "registry/message_codec.hpp"

namespace rayx::head {
namespace {

registry::HeadOptions options_of_new_cluster() {
  std::random_device random;
  registry::HeadOptions options;
  while (options.cluster == 0) options.cluster = std::uint64_t{random()} << 32 | random();
  return options;
}

}  // namespace

class HeadServer::Connection final : public wire::LinkHandler {
 public:
  Connection(HeadServer& server, registry::ConnectionId id, std::unique_ptr<wire::Link> link)
      : server_(server), id_(id), link_(std::move(link)) {}

  void open() { link_->open(*this); }
  void send(const std::string& bytes) { link_->send(std::as_bytes(std::span(bytes))); }
  void close(const std::string& why) {
    is_closed_by_head_ = true;
    link_->close(why);
  }

 private:
  void on_control(std::span<const std::byte> bytes) override {
    if (is_closed_by_head_) return;
    Result<registry::ToHead> message =
        registry::decode_to_head({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    if (!message) {
      server_.config_.log(message.error().message + " (it came from " + link_->peer().text() + ")");
      return link_->close(message.error().message);  // on_closed follows
    }
    // Where the others reach it: as this end sees it, unless it knows better.
    if (auto* const join = std::get_if<registry::Join>(&*message); join != nullptr && join->address.starts_with(':')) {
      std::string host = wire::Endpoint{link_->peer().host, 0}.text();
      host.erase(host.rfind(':'));
      join->address.insert(0, host);
    }
    server_.head_.on_message(id_, std::move(*message), server_.loop_.now_ns());
    server_.timer_.set();
  }
  std::span<std::byte> on_payload(const wire::PayloadChunk&) override { return {}; }
  void on_payload_end(const wire::PayloadChunk&) override {}
  void on_closed(const wire::CloseReason&) override {
    HeadServer& server = server_;
    const registry::ConnectionId id = id_;
    const bool is_known = is_closed_by_head_;
    server.connections_.erase(id);  // and this
    if (is_known) return;
    server.head_.on_closed(id, server.loop_.now_ns());
    server.timer_.set();
  }

  HeadServer& server_;
  const registry::ConnectionId id_;
  std::unique_ptr<wire::Link> link_;
  bool is_closed_by_head_ = false;
};

HeadServer::HeadServer(wire::Loop& loop, HeadConfig config)
    : loop_(loop),
      config_(std::move(config)),
      head_(options_of_new_cluster(), *this),
      timer_(
          loop, [this] { return head_.next_deadline_ns(); }, [this](base::TimeNs now_ns) { head_.tick(now_ns); }),
      self_(std::make_shared<HeadServer*>(this)) {}

HeadServer::~HeadServer() {
  *self_ = nullptr;
  disk_.reset();
}

Result<std::unique_ptr<HeadServer>> HeadServer::create(wire::Loop& loop, HeadConfig config) {
  std::unique_ptr<HeadServer> server(new HeadServer(loop, std::move(config)));
  Result<void> restored = server->restore();
  if (!restored) return std::move(restored).error();
  server->timer_.set();
  return server;
}

Result<void> HeadServer::restore() {
  std::vector<std::pair<std::string, std::string>> pairs;
  if (!config_.folder.empty()) {
    Result<disk::PairFile> file = disk::PairFile::open(config_.folder);
    if (!file) return std::move(file).error();
    Result<std::vector<std::pair<std::string, std::string>>> read = file->read_all();
    if (!read) return std::move(read).error();
    pairs = std::move(*read);
    const auto on_loop = [&loop = loop_, self = self_](auto work) {
      loop.post([self, work = std::move(work)] {
        if (*self != nullptr) work(**self);
      });
    };
    disk_ = std::make_unique<DiskWriter>(
        std::move(*file),
        [on_loop](registry::BatchId batch) { on_loop([batch](HeadServer& server) { server.is_durable(batch); }); },
        [on_loop](const std::string& message) {
          on_loop([message](HeadServer& server) { server.config_.log(message); });
        });
  }
  Result<void> restored = head_.restore(pairs, loop_.now_ns());
  if (!restored) return Error{restored.error().code, "rayx: " + restored.error().message};
  if (!pairs.empty())
    config_.log("the head goes on where the one before ended: " + std::to_string(head_.nodes().size()) + " members, " +
                std::to_string(head_.actors().size()) + " actors, " + std::to_string(head_.jobs().size()) + " jobs");
  return {};
}

void HeadServer::take(std::unique_ptr<wire::Link> link) {
  const registry::ConnectionId id = ++last_connection_;
  auto connection = std::make_unique<Connection>(*this, id, std::move(link));
  connection->open();
  connections_.emplace(id, std::move(connection));
  head_.on_opened(id, loop_.now_ns());
  timer_.set();
}

void HeadServer::send(registry::ConnectionId to, registry::ToMember message) {
  const auto found = connections_.find(to);
  if (found != connections_.end()) found->second->send(registry::encode(message));
}

void HeadServer::send_shared(registry::ConnectionId to, const registry::SharedMessage& message) {
  if (message != shared_) {
    shared_bytes_ = registry::encode(*message);
    shared_ = message;
  }
  const auto found = connections_.find(to);
  if (found != connections_.end()) found->second->send(shared_bytes_);
}

void HeadServer::close(registry::ConnectionId connection) {
  const auto found = connections_.find(connection);
  if (found != connections_.end()) found->second->close("the head has no further use for this link");
}

void HeadServer::persist(registry::BatchId batch, std::vector<registry::Write> writes) {
  if (disk_ == nullptr) return head_.on_persisted(batch, loop_.now_ns());
  std::vector<disk::Change> changes;
  changes.reserve(writes.size());
  for (registry::Write& write : writes) changes.push_back({std::move(write.key), std::move(write.value)});
  disk_->post(batch, std::move(changes));
}

void HeadServer::is_durable(registry::BatchId batch) {
  head_.on_persisted(batch, loop_.now_ns());
  timer_.set();
}

}  // namespace rayx::head

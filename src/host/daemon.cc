#include "host/daemon.hpp"

#include <chrono>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "host/site_server.hpp"

namespace rayx::host {

namespace {

// A driver that is stopped in a debugger is not a dead one. One whose machine is gone keeps its processes here for so long.
constexpr std::chrono::seconds kSilentDriverTimeout{60};

}  // namespace

Result<std::unique_ptr<Daemon>> Daemon::start(DaemonConfig config) {
  Result<bundle::Cache> cache = bundle::Cache::open(config.cache);
  if (!cache) return std::move(cache).error();
  Result<std::unique_ptr<Network>> network = Network::start();
  if (!network) return std::move(network).error();
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(config), std::move(*cache), std::move(*network)));
  Result<void> listening = daemon->network_->call([&daemon] { return daemon->listen(); });
  if (!listening) return std::move(listening).error();
  return daemon;
}

Result<void> Daemon::listen() {
  wire::ListenerOptions options;
  options.address = config_.address;
  options.port = config_.port;
  wire::LinkConfig link{config_.token, config_.tls, {}, {}};
  link.options.control_bytes_max = wire::kControlBytesCeiling;
  link.options.heartbeat_timeout = kSilentDriverTimeout;
  Result<std::unique_ptr<wire::Listener>> listener = wire::Listener::create(
      network_->loop(), options, link, [this](std::unique_ptr<wire::Link> made) { on_link(std::move(made)); },
      [this](const wire::RefusedReport& report) {
        log(report.message + (report.count > 1 ? " (" + std::to_string(report.count) + " of this kind)" : ""));
      });
  if (!listener) return std::move(listener).error();
  listener_ = std::move(*listener);
  endpoint_ = listener_->endpoint();
  return {};
}

void Daemon::on_link(std::unique_ptr<wire::Link> link) {
  const std::span<const std::byte> hello = link->peer_hello();
  const std::string_view text(reinterpret_cast<const char*>(hello.data()), hello.size());
  if (text != kSiteHello) {
    log("a link from " + link->peer().text() + " wants what this version does not have");
    return link->close("rayx: this node does not know what the link is for; use the same version of rayx everywhere");
  }
  auto server = std::make_shared<SiteServer>(*this, std::move(link));
  servers_.emplace(server.get(), server);
  server->open();
}

void Daemon::forget(SiteServer* server) { servers_.erase(server); }

Daemon::~Daemon() {
  network_->call([this] {
    listener_.reset();
    while (!servers_.empty()) {
      const std::shared_ptr<SiteServer> server = servers_.begin()->second;
      server->end("the node ends");
    }
  });
  bench_.reset();         // the jobs have ended
  network_->call([] {});  // what all that has posted
}

}  // namespace rayx::host

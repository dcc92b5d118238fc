#include "host/daemon.hpp"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/in.h>
#include <unistd.h>

#include <chrono>
#include <cstring>
#include <string_view>
#include <utility>
#include <vector>

#include "base/check.hpp"
#include "host/site_server.hpp"
#include "host/status.hpp"

namespace rayx::host {

namespace {

// A driver that is stopped in a debugger is not a dead one. One whose machine is gone keeps its processes here for so long.
constexpr std::chrono::seconds kSilentDriverTimeout{60};

// By which other machines reach this one, where it listens on all of its addresses and nobody has said it.
std::string first_address_of_machine() {
  ifaddrs* all = nullptr;
  std::string found = "127.0.0.1";
  if (::getifaddrs(&all) != 0) return found;
  for (const ifaddrs* it = all; it != nullptr; it = it->ifa_next) {
    if (it->ifa_addr == nullptr || it->ifa_addr->sa_family != AF_INET) continue;
    if ((it->ifa_flags & IFF_LOOPBACK) != 0 || (it->ifa_flags & IFF_UP) == 0) continue;
    char text[INET_ADDRSTRLEN];
    const auto* const address = reinterpret_cast<const sockaddr_in*>(it->ifa_addr);
    if (::inet_ntop(AF_INET, &address->sin_addr, text, sizeof(text)) == nullptr) continue;
    found = text;
    break;
  }
  ::freeifaddrs(all);
  return found;
}

bool is_any_address(const std::string& address) { return address == "0.0.0.0" || address == "::"; }

}  // namespace

Result<std::unique_ptr<Daemon>> Daemon::start(DaemonConfig config) {
  if (config.resources.name.empty()) config.resources.name = host_name();
  std::optional<bundle::Cache> cache;
  if (config.is_node) {
    Result<bundle::Cache> opened = bundle::Cache::open(config.cache);
    if (!opened) return std::move(opened).error();
    cache.emplace(std::move(*opened));
    config.resources.shared_cpus =
        std::make_shared<node::SharedCpus>(sched::Units{config.resources.cpus} * sched::kUnitsOfOneCpu);
    config.resources.shared_memory = std::make_shared<node::SharedMemory>(config.resources.store_bytes);
  }
  Result<std::unique_ptr<Network>> network = Network::start();
  if (!network) return std::move(network).error();
  std::unique_ptr<Daemon> daemon(new Daemon(std::move(config), std::move(cache), std::move(*network)));
  Result<void> listening = daemon->network_->call([&daemon] { return daemon->listen(); });
  if (!listening) return std::move(listening).error();
  Result<void> joined = daemon->config_.is_node ? daemon->join() : Result<void>();
  if (!joined) return std::move(joined).error();
  return daemon;
}

Result<void> Daemon::listen() {
  if (config_.has_head) {
    Result<std::unique_ptr<head::HeadServer>> server = head::HeadServer::create(
        network_->loop(), {config_.head_folder, [this](const std::string& line) { log(line); }});
    if (!server) return std::move(server).error();
    head_server_ = std::move(*server);
  }
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
  head_endpoint_ = config_.head;
  if (config_.has_head) {
    head_endpoint_ = endpoint_;
    if (is_any_address(endpoint_.host)) head_endpoint_.host = first_address_of_machine();
    if (!config_.advertised.empty()) head_endpoint_ = advertised();
  }
  return {};
}

wire::Endpoint Daemon::advertised() const {
  Result<wire::Endpoint> whole = wire::Endpoint::parse(config_.advertised);
  return whole ? std::move(*whole) : wire::Endpoint{config_.advertised, endpoint_.port};
}

// The way of its own node to it: also where the others come through something that is not there yet.
wire::Endpoint Daemon::head_for_me() const {
  if (!config_.has_head) return head_endpoint_;
  return is_any_address(endpoint_.host) ? wire::Endpoint{endpoint_.host == "::" ? "::1" : "127.0.0.1", endpoint_.port}
                                        : endpoint_;
}

std::string Daemon::address_for_others() const {
  if (!config_.advertised.empty()) return advertised().text();
  if (config_.has_head) return head_endpoint_.text();
  if (is_any_address(endpoint_.host)) return ':' + std::to_string(endpoint_.port);  // the head sees from where it comes
  return endpoint_.text();
}

void Daemon::on_link(std::unique_ptr<wire::Link> link) {
  const std::span<const std::byte> hello = link->peer_hello();
  const std::string_view text(reinterpret_cast<const char*>(hello.data()), hello.size());
  if (text == kSiteHello && config_.is_node) {
    auto server = std::make_shared<SiteServer>(*this, std::move(link));
    servers_.emplace(server.get(), server);
    return server->open();
  }
  if (const std::optional<PeerHello> peer = decode_peer_hello(hello)) {
    if (member_ == nullptr || peer->to.node != member_->member().identity().node)
      return link->close("another node has this address now");
    HostedSite* const server = site_of(peer->to.job, peer->to.is_detached);
    if (server == nullptr || !server->is_open())
      return link->close("the job has no site on this node yet, or any more");
    const registry::NodeView* const from = find_node(peer->from.node);
    if (from != nullptr && from->kind == registry::MemberKind::kNode)  // no debugger stops it
      link->set_heartbeat_timeout(wire::kHeartbeatTimeout);
    return server->peers().answer(peer->from, std::move(link));
  }
  if (text == kFilesHello && config_.is_node) {
    const auto server = std::make_shared<FilesServer>(network_->loop(), *cache_, std::move(link),
                                                      [this](FilesServer* ended) { files_servers_.erase(ended); });
    files_servers_.emplace(server.get(), server);
    return server->open();
  }
  if (text == head::kMemberHello || text == kStatusHello) {
    if (head_server_ == nullptr)
      return link->close("rayx: this is a node; the head of its cluster is at " + head_endpoint_.text() +
                         ": use that address");
    if (text == head::kMemberHello) return head_server_->take(std::move(link));
    return send_report(head_server_->state(), std::move(link));
  }
  log_refusal(link->peer(),
              "it wants what this version does not have, and this node does not know what the link is for");
  link->close("rayx: this node does not know what the link is for; use the same version of rayx everywhere");
}

void Daemon::log_refusal(const wire::Endpoint& peer, const std::string& why) {
  const base::TimeNs now_ns = network_->loop().now_ns();
  const base::TimeNs pause_ns = std::chrono::nanoseconds(wire::kRefusalReportInterval).count();
  ++refusals_unsaid_;
  if (refusal_at_ns_ >= 0 && now_ns < refusal_at_ns_ + pause_ns) return;
  refusal_at_ns_ = now_ns;
  const std::uint64_t count = std::exchange(refusals_unsaid_, 0);
  log("a link from " + peer.text() + " was closed: " + why +
      (count > 1 ? " (" + std::to_string(count) + " of this kind)" : ""));
}

ClusterReport Daemon::report() {
  RAYX_CHECK(config_.has_head, "only the head can say how the cluster is");
  return network_->call([this] { return make_report(head_server_->state()); });
}

void Daemon::forget(HostedSite* server) {
  servers_.erase(server);
  look_whether_drained();
}

void Daemon::end_all_jobs(const std::string& why) {
  while (!servers_.empty()) {
    const std::shared_ptr<HostedSite> server = servers_.begin()->second;
    server->end(why);
  }
}

Daemon::~Daemon() {
  leave();
  network_->call([this] {
    listener_.reset();
    is_leaving_ = true;
    network_->loop().cancel(load_timer_);
    end_all_jobs("the node ends");
    for (const auto& [key, server] : std::exchange(files_servers_, {})) server->end();
    member_.reset();
    head_server_.reset();
  });
  bench_.reset();         // the jobs have ended
  network_->call([] {});  // what all that has posted
}

}  // namespace rayx::host

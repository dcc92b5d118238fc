#include "rayx/admin.hpp"

#include <sys/stat.h>

#include <utility>

#include "api/config.hpp"
#include "host/daemon.hpp"
#include "rayx/errors.hpp"
#include "rayx/options.hpp"

namespace rayx {
namespace {

Result<wire::Token> find_token(const std::string& file) {
  if (file.empty()) {
    Result<std::optional<wire::Token>> token = wire::Token::from_environment();
    if (!token) return std::move(token).error();
    if (*token) return std::move(**token);
    return Error{ErrorCode::kInvalidConfig, "rayx: the node has no token; " + std::string(wire::kTokenAdvice) +
                                                ", or name a file in which a new one is to be written"};
  }
  struct stat status {};
  if (::stat(file.c_str(), &status) == 0) return wire::Token::from_file(file);
  wire::Token token = wire::Token::make_random();
  Result<void> written = token.write_file(file);
  if (!written) return std::move(written).error();
  return token;
}

}  // namespace

struct ClusterNode::State {
  host::NodeResources resources;
  std::unique_ptr<host::Daemon> daemon;
};

ClusterNode::ClusterNode(NodeOptions options) : state_(std::make_unique<State>()) {
  Config config;
  config.local = false;
  config.address = "";
  config.num_cpus = options.num_cpus;
  config.store_bytes = options.store_bytes;
  Result<Config> resolved = detail::resolve_config(config);
  if (!resolved) detail::throw_error(resolved.error());
  Result<wire::Token> token = find_token(options.token_file);
  if (!token) detail::throw_error(token.error());
  host::DaemonConfig daemon;
  daemon.address = options.listen;
  daemon.port = options.port;
  daemon.token = std::move(*token);
  daemon.resources.cpus = *resolved->num_cpus;
  daemon.resources.store_bytes = *resolved->store_bytes;
  daemon.cache.directory = options.cache_folder;
  daemon.log = std::move(options.log);
  state_->resources = daemon.resources;
  Result<std::unique_ptr<host::Daemon>> started = host::Daemon::start(std::move(daemon));
  if (!started) detail::throw_error(started.error());
  state_->daemon = std::move(*started);
}

ClusterNode::~ClusterNode() = default;
ClusterNode::ClusterNode(ClusterNode&&) noexcept = default;
ClusterNode& ClusterNode::operator=(ClusterNode&&) noexcept = default;

std::string ClusterNode::address() const { return state_->daemon->endpoint().text(); }
int ClusterNode::num_cpus() const { return state_->resources.cpus; }
std::uint64_t ClusterNode::store_bytes() const { return state_->resources.store_bytes; }

}  // namespace rayx

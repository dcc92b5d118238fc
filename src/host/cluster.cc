#include "host/cluster.hpp"

#include <unistd.h>

#include <algorithm>
#include <future>
#include <random>
#include <string_view>
#include <utility>

#include "bundle/manifest.hpp"
#include "wire/endpoint.hpp"
#include "wire/token.hpp"

namespace rayx::host {
namespace {

std::uint64_t random_job() {
  std::random_device random;
  const std::uint64_t number = std::uint64_t{random()} << 32 | random();
  return number == 0 ? 1 : number;
}

std::string name_of_program(const bundle::RunningProgram& program) {
  const std::string& path = program.manifest.executable().path;
  return path.substr(path.rfind('/') + 1);
}

}  // namespace

Result<std::unique_ptr<Cluster>> Cluster::join(relay::Site& mine, const ClusterConfig& config) {
  std::vector<wire::Endpoint> endpoints;
  for (std::size_t at = 0; at <= config.address.size();) {
    const std::size_t comma = std::min(config.address.find(',', at), config.address.size());
    Result<wire::Endpoint> endpoint = wire::Endpoint::parse(std::string_view(config.address).substr(at, comma - at));
    if (!endpoint)
      return Error{
          ErrorCode::kInvalidConfig,
          "rayx: init: the address of the cluster (RAYX_ADDRESS or Config::address): " + endpoint.error().message};
    endpoints.push_back(std::move(*endpoint));
    at = comma + 1;
  }
  Result<std::optional<wire::Token>> token = wire::Token::from_environment();
  if (!token) return std::move(token).error();
  if (!*token) {
    return Error{ErrorCode::kInvalidConfig,
                 "rayx: init: RAYX_ADDRESS names a cluster, but there is no token to prove that "
                 "this program may use it; " +
                     std::string(wire::kTokenAdvice)};
  }
  bundle::FileDigests digests;
  Result<bundle::RunningProgram> program = bundle::describe_running_program(digests);
  if (!program) return std::move(program).error();
  auto about = std::make_shared<SiteClient::About>();
  about->open.job = random_job();
  about->open.submit_timeout_ns = static_cast<std::uint64_t>(config.submit_timeout.count());
  about->open.pending_max = config.pending_max;
  about->open.name = name_of_program(*program);
  about->open.modules = config.modules;
  about->open.manifest = bundle::encode(program->manifest);
  about->program = std::move(*program);

  Result<std::unique_ptr<Network>> network = Network::start();
  if (!network) return std::move(network).error();
  std::unique_ptr<Cluster> cluster(new Cluster(std::move(*network)));
  // All at once; the slowest says how long it takes.
  std::vector<std::future<Result<void>>> answers;
  cluster->network_->call([&] {
    for (const wire::Endpoint& endpoint : endpoints) {
      auto client = std::make_shared<SiteClient>(*cluster->network_, mine, about);
      auto opened = std::make_shared<std::promise<Result<void>>>();
      answers.push_back(opened->get_future());
      client->begin(endpoint, **token, wire::TlsPolicy::kOffLoopback,
                    [opened](Result<void> outcome) { opened->set_value(std::move(outcome)); });
      cluster->clients_.push_back(std::move(client));
    }
  });
  for (std::future<Result<void>>& answer : answers) {
    Result<void> outcome = answer.get();
    if (!outcome) return std::move(outcome).error();
  }
  return cluster;
}

Cluster::~Cluster() {
  // Nodes end the job's processes, and what those printed arrives. A node that does not answer is left to its own end of the link.
  constexpr std::chrono::seconds kLeaveTimeout{5};
  auto left = std::make_shared<std::promise<void>>();
  std::future<void> all_left = left->get_future();
  network_->call([this, left] {
    auto missing = std::make_shared<std::size_t>(clients_.size());
    if (clients_.empty()) left->set_value();
    for (const auto& client : clients_)
      client->leave([left, missing] {
        if (--*missing == 0) left->set_value();
      });
  });
  all_left.wait_for(kLeaveTimeout);
  network_->call([this] {
    for (const auto& client : clients_) client->end();
  });
  network_->call([] {});  // what the ends have posted
}

}  // namespace rayx::host

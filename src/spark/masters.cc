#include "spark/masters.hpp"

#include <algorithm>

#include "http/printable.hpp"

namespace rayx::spark {
namespace {

Error bad(std::string_view text, const std::string& why) {
  return {
      ErrorCode::kInvalidConfig,
      '\'' + http::printable(text, 200) + "' does not say where Spark's master is: " + why +
          ". Write spark://host:6066, or spark://a:6066,b:6066 where there are standby masters; 6066 is the default of "
          "spark.master.rest.port"};
}

bool take_prefix(std::string_view& text, std::string_view prefix) {
  if (!text.starts_with(prefix)) return false;
  text.remove_prefix(prefix.size());
  return true;
}

// Whether a port follows the host: behind the bracket of an IPv6 address, or behind the only colon.
bool has_port(std::string_view host) {
  const std::size_t bracket = host.rfind(']');
  return host.find(':', bracket == std::string_view::npos ? 0 : bracket) != std::string_view::npos;
}

}  // namespace

Result<std::vector<wire::Endpoint>> parse_masters(std::string_view text, std::uint16_t default_port) {
  const std::string_view whole = text;
  std::vector<wire::Endpoint> masters;
  while (true) {
    const std::size_t comma = text.find(',');
    std::string_view one = text.substr(0, comma);
    const bool is_spark_url = take_prefix(one, "spark://");
    if (!is_spark_url && !take_prefix(one, "http://")) {
      if (one.starts_with("https://"))
        return bad(whole, "Spark's REST server speaks plain HTTP, not TLS; use http:// and protect the way to it");
      if (one.find("://") != std::string_view::npos || one == "yarn" || one == "local" || one.starts_with("local[") ||
          one.starts_with("local-cluster["))
        return bad(whole, "only a standalone cluster's master takes submissions over REST");
    }
    if (one.ends_with('/')) one.remove_suffix(1);
    if (one.empty()) return bad(whole, "a host is missing");
    if (one.find('/') != std::string_view::npos) return bad(whole, "it has a path behind the port");
    const std::string with_port = std::string(one) + (has_port(one) ? "" : ':' + std::to_string(default_port));
    const Result<wire::Endpoint> master = wire::Endpoint::parse(with_port);
    if (!master || master->port == 0) return bad(whole, '\'' + http::printable(one, 80) + "' is no host:port");
    // What every other program of Spark's is given. The master ends a connection there without a word.
    if (is_spark_url && master->port == kRpcPort)
      return bad(whole, "7077 is the port of the master's own protocol, not of its REST server");
    if (std::find(masters.begin(), masters.end(), *master) == masters.end()) masters.push_back(*master);
    if (masters.size() > kMastersMax)
      return bad(whole, "it names more than " + std::to_string(kMastersMax) + " masters");
    if (comma == std::string_view::npos) return masters;
    text.remove_prefix(comma + 1);
  }
}

std::string to_text(const std::vector<wire::Endpoint>& masters) {
  std::string text;
  for (const wire::Endpoint& master : masters) text += (text.empty() ? "" : ", ") + master.text();
  return text;
}

}  // namespace rayx::spark

// Where a cluster's masters are, as users write it.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "rayx/result.hpp"
#include "wire/endpoint.hpp"

namespace rayx::spark {

inline constexpr std::uint16_t kRestPort = 6066;  // spark.master.rest.port
inline constexpr std::uint16_t kUiPort = 8080;    // spark.master.ui.port
inline constexpr std::uint16_t kRpcPort = 7077;   // what `spark://` names elsewhere; no REST is spoken there
inline constexpr std::size_t kMastersMax = 16;

// "spark://a:6066,b:6066", "http://a:6066", "a,b": one master or several, of which one is active and the others stand by. A host
// without a port gets `default_port`. TLS is refused: Spark's servers speak plain HTTP.
Result<std::vector<wire::Endpoint>> parse_masters(std::string_view text, std::uint16_t default_port);

// "a:6066, b:6066"
std::string to_text(const std::vector<wire::Endpoint>& masters);

}  // namespace rayx::spark

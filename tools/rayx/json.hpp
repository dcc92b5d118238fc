#pragma once

#include <nlohmann/json.hpp>

namespace rayx_cli {

using Json = nlohmann::ordered_json;

}  // namespace rayx_cli

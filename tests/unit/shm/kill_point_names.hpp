// Every name of a kill point in the sources, so that one which no test reaches is noticed.
#pragma once

#include <filesystem>
#include <fstream>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace rayx::shm::test {

// The names in src/ of the checkout that this program was compiled from.
inline std::set<std::string> kill_point_names() {
  static const std::regex kPoint(R"re(RAYX_KILL_POINT\("([^"]+)"\))re");
  std::set<std::string> names;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(std::string(RAYX_SOURCE_ROOT) + "/src")) {
    if (entry.path().extension() != ".hpp" && entry.path().extension() != ".cc") continue;
    std::ostringstream text;
    text << std::ifstream(entry.path()).rdbuf();
    const std::string source = text.str();
    for (std::sregex_iterator it(source.begin(), source.end(), kPoint), end; it != end; ++it) names.insert((*it)[1]);
  }
  return names;
}

}  // namespace rayx::shm::test

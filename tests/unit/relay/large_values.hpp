// Sites that are told from each other by a label, and tasks with large values, for the tests of where these go.
#pragma once

#include <cstddef>
#include <filesystem>
#include <iterator>
#include <rayx/rayx.hpp>
#include <string>

#include "sites.hpp"

namespace rayx::relay::test {

inline constexpr std::size_t kMiB = 1u << 20;

inline std::string make(std::size_t bytes, char letter) { return std::string(bytes, letter); }
inline std::size_t size_of(const std::string& text) { return text.size(); }
inline std::size_t size_of_both(const std::string& a, const std::string& b) { return a.size() + b.size(); }
inline std::string grown(const std::string& text) { return text + "+"; }

inline std::size_t count_files(const std::string& folder) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}

// Of which each site has its number as a label, and a link to each other one.
inline Sites::Options mesh_of(int others, int cpus = 1) {
  Sites::Options options;
  options.others = others;
  options.cpus = cpus;
  options.is_mesh = true;
  for (int site = 1; site <= others; ++site) options.labels.push_back({{"site", std::to_string(site)}});
  return options;
}
inline TaskOptions on(std::size_t site) {
  TaskOptions options;
  options.labels = {{"site", {std::to_string(site)}}};
  return options;
}

}  // namespace rayx::relay::test

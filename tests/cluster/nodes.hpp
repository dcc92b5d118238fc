// Nodes as processes of their own, for tests of whole programs: how one is started, and how a program is told of them, stands here.
#pragma once

#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>

#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "kit/program.hpp"

namespace rayx::cluster_test {

// Of the test's environment, set by meson.
inline std::string variable(const char* name) {
  const char* const value = ::getenv(name);
  if (value == nullptr) throw std::runtime_error(std::string(name) + " is not set");
  return value;
}

struct NodeSpec {
  std::string name = {};                 // for its tasks: RAYX_TEST_NODE
  std::string listen = {};               // empty: the default
  int network = -1;                      // of a kit::TestHosts
  std::vector<std::string> before = {};  // a program, with its arguments, that becomes the node's in the end
};

class Nodes : public testing::Test {
 protected:
  Nodes() {
    std::string pattern = (std::filesystem::temp_directory_path() / "rayx-nodes-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no folder for the test");
    folder_ = pattern;
  }
  ~Nodes() override {
    for (const auto& node : nodes_) node->kill(SIGTERM);
    nodes_.clear();
    std::filesystem::remove_all(folder_);
  }

  std::string token_file() const { return (folder_ / "token").string(); }

  // A node that listens; its address.
  std::string start_node(const NodeSpec& spec = {}) {
    std::vector<std::string> arguments(spec.before);
    if (!arguments.empty()) arguments.push_back(variable("RAYX_CLI"));
    arguments.insert(arguments.end(), {"start", "--port", "0", "--num-cpus", "2", "--token-file", token_file(),
                                       "--cache", (folder_ / "cache").string()});
    if (!spec.listen.empty()) arguments.insert(arguments.end(), {"--listen", spec.listen});
    std::string program = variable("RAYX_CLI");
    if (!spec.before.empty()) {
      program = arguments.front();
      arguments.erase(arguments.begin());
    }
    nodes_.push_back(std::make_unique<kit::Program>(
        program, kit::Program::Options{
                     .arguments = std::move(arguments),
                     .environment = {"EXECUTIONS=" + (folder_ / "executions").string(), "RAYX_TEST_NODE=" + spec.name},
                     .network = spec.network}));
    if (!nodes_.back()->read_until("./program")) throw std::runtime_error("no node: " + nodes_.back()->err());
    const std::string& out = nodes_.back()->out();
    const std::size_t at = out.find("RAYX_ADDRESS=") + 13;
    return out.substr(at, out.find(' ', at) - at);
  }
  // What a program is told that shall use the nodes which are reached at these addresses.
  static std::string cluster_of(const std::vector<std::string>& addresses) {
    std::string all;
    for (const std::string& address : addresses) all += (all.empty() ? "" : ",") + address;
    return all;
  }
  // For a program that uses them.
  kit::Program::Options with(const std::string& cluster, std::vector<std::string> arguments = {}) const {
    return {.arguments = std::move(arguments),
            .environment = {"RAYX_ADDRESS=" + cluster, "RAYX_TOKEN_FILE=" + token_file()}};
  }

  std::filesystem::path folder_;
  std::vector<std::unique_ptr<kit::Program>> nodes_;
};

}  // namespace rayx::cluster_test

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
  int cpus = 2;                          // that it lends
  std::string listen = {};               // empty: the default
  int network = -1;                      // of a kit::TestHosts
  std::string advertise = {};            // by which others reach it, if it is behind something
  std::string head = {};                 // by which it reaches the head, if something is between
  std::vector<std::string> before = {};  // a program, with its arguments, that becomes the node's in the end
  std::string cache = "cache";           // its folder; several nodes may have the same
  std::string label = {};
  std::uint64_t store_mib = 0;  // 0: the default
};

class Nodes : public testing::Test {
 protected:
  Nodes() {
    std::string pattern = (std::filesystem::temp_directory_path() / "rayx-nodes-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no folder for the test");
    folder_ = pattern;
  }
  ~Nodes() override {
    for (const auto& node : nodes_) node->kill(SIGINT);
    nodes_.clear();
    head_.reset();
    std::filesystem::remove_all(folder_);
  }

  std::string token_file() const { return (folder_ / "token").string(); }

  // The head of the cluster, a process of its own; its address. Once: a node that is started first starts it by itself.
  std::string start_head(const NodeSpec& spec = {}, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments{"start", "--head-only", "--token-file", token_file()};
    if (!spec.listen.empty()) arguments.insert(arguments.end(), {"--listen", spec.listen});
    arguments.insert(arguments.end(),
                     {"--port", head_address_.empty() ? "0" : head_address_.substr(head_address_.rfind(':') + 1)});
    arguments.insert(arguments.end(), more.begin(), more.end());
    head_ = std::make_unique<kit::Program>(
        variable("RAYX_CLI"), kit::Program::Options{.arguments = std::move(arguments), .network = spec.network});
    if (!head_->read_until("./program")) throw std::runtime_error("no head: " + head_->err());
    return head_address_ = word_after(head_->out(), "listens on ");
  }
  // A node that is part of the cluster; the address that it listens on.
  std::string start_node(const NodeSpec& spec = {}) {
    if (head_ == nullptr) start_head();
    std::vector<std::string> arguments(spec.before);
    if (!arguments.empty()) arguments.push_back(variable("RAYX_CLI"));
    arguments.insert(arguments.end(), {"start", "--address", spec.head.empty() ? head_address_ : spec.head,
                                       "--num-cpus", std::to_string(spec.cpus), "--token-file", token_file(), "--cache",
                                       (folder_ / spec.cache).string()});
    if (!spec.label.empty()) arguments.insert(arguments.end(), {"--label", spec.label});
    if (!spec.name.empty()) arguments.insert(arguments.end(), {"--name", spec.name});
    if (spec.store_mib != 0) arguments.insert(arguments.end(), {"--store-mib", std::to_string(spec.store_mib)});
    if (!spec.listen.empty()) arguments.insert(arguments.end(), {"--listen", spec.listen});
    if (!spec.advertise.empty()) arguments.insert(arguments.end(), {"--advertise", spec.advertise});
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
    return word_after(nodes_.back()->out(), "listens on ");
  }
  // For a program that uses the cluster.
  const std::string& cluster() const { return head_address_; }
  // For a program that uses them.
  kit::Program::Options with_cluster(std::vector<std::string> arguments = {}) const {
    return with(head_address_, std::move(arguments));
  }
  kit::Program::Options with(const std::string& address, std::vector<std::string> arguments = {}) const {
    return {.arguments = std::move(arguments),
            .environment = {"RAYX_ADDRESS=" + address, "RAYX_TOKEN_FILE=" + token_file()}};
  }
  static std::string word_after(const std::string& text, const std::string& words) {
    const std::size_t at = text.find(words) + words.size();
    return text.substr(at, text.find_first_of(" ;\n", at) - at);
  }

  std::filesystem::path folder_;
  std::unique_ptr<kit::Program> head_;
  std::string head_address_;
  std::vector<std::unique_ptr<kit::Program>> nodes_;
};

}  // namespace rayx::cluster_test

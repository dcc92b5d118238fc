// A node that works for a program while somebody else is hostile to it.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "kit/program.hpp"
#include "nodes.hpp"
#include "wire/token.hpp"

namespace rayx::cluster_test {

class Hostile : public Nodes {
 protected:
  // A node with a program on it that calls one task after the other.
  void start(const std::vector<std::string>& before = {}) {
    address_ = start_node({.name = "a", .before = before});
    stop_file_ = folder_ / ("stop-" + std::to_string(nodes_.size()));
    caller_ = std::make_unique<kit::Program>(variable("RAYX_LINKS_PROGRAM"),
                                             with_cluster({"call-until", stop_file_.string()}));
    EXPECT_TRUE(caller_->read_until("calling")) << caller_->out() << caller_->err();
  }
  // All of the program's tasks were right until now, and the node is as it was. What it said, for the figures in it.
  std::string expect_unharmed() {
    std::ofstream(stop_file_) << "stop";
    const auto ended = caller_->wait();
    EXPECT_TRUE(ended.has_value() && ended->exited_with(0)) << caller_->out() << caller_->err();
    EXPECT_THAT(caller_->out(), testing::HasSubstr("all right"));
    EXPECT_TRUE(node().is_alone());
    return caller_->out().substr(caller_->out().find("calls "));
  }
  kit::Program& node() { return *nodes_.back(); }
  wire::Token token() const { return *wire::Token::from_file(token_file()); }
  void expect_refused_with(const std::string& words) {
    EXPECT_TRUE(node().read_errors_until(words)) << "no line with '" << words << "' in:\n" << node().err();
    EXPECT_THAT(node().err(), testing::HasSubstr("127.0.0.1:"));
  }
  // Lines about peers that were not let in.
  int count_refusals() {
    node().read_what_is_there();
    int count = 0;
    std::istringstream lines(node().err());
    for (std::string line; std::getline(lines, line);)
      count += line.find("was not let in") != std::string::npos || line.find("handshake") != std::string::npos;
    return count;
  }

  std::string address_;
  std::filesystem::path stop_file_;
  std::unique_ptr<kit::Program> caller_;
};

}  // namespace rayx::cluster_test

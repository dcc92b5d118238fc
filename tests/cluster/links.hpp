// Two nodes with links between them and a program that can be made to suffer.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kit/eventually.hpp"
#include "kit/program.hpp"
#include "kit/proxy.hpp"
#include "kit/test_hosts.hpp"
#include "nodes.hpp"

namespace rayx::cluster_test {

// Two nodes, a and b. What befalls the link to a must not be seen in any result.
class Links : public Nodes {
 protected:
  // On loopback, a behind a proxy.
  void start_behind_a_proxy() {
    start_a_behind_a_proxy({});
    start_node({.name = "b"});
  }
  void start_a_behind_a_proxy(const kit::Proxy::Options& options, NodeSpec spec = {}) {
    proxy_ = std::make_unique<kit::Proxy>("127.0.0.1:1", options);  // until it is known where the node listens
    spec.name = "a";
    spec.advertise = proxy_->address();
    proxy_->set_target(start_node(spec));
  }
  // Each on a host, the program on a third.
  bool make_hosts() {
    Result<std::unique_ptr<kit::TestHosts>> made = kit::TestHosts::make(4);
    if (!made) {
      why_not_ = made.error().message;
      return false;
    }
    hosts_ = std::move(*made);
    start_head({.listen = hosts_->address(3), .network = hosts_->network(3)});
    network_ = hosts_->network(2);
    return true;
  }
  bool start_on_hosts() {
    if (!make_hosts()) return false;
    start_on_host(0, "a");
    start_on_host(1, "b");
    return true;
  }
  std::string start_on_host(int host, const std::string& name) {
    return start_node({.name = name, .listen = hosts_->address(host), .network = hosts_->network(host)});
  }

  std::unique_ptr<kit::Program> run(const char* program, std::vector<std::string> arguments) const {
    kit::Program::Options options = with_cluster(std::move(arguments));
    options.network = network_;
    return std::make_unique<kit::Program>(variable(program), options);
  }
  // A program whose tasks are held on both nodes.
  std::unique_ptr<kit::Program> hold(const std::string& how) {
    auto program = run("RAYX_LINKS_PROGRAM", {how, folder_.string()});
    for (const char* node : {"began-a", "began-b"})
      EXPECT_TRUE(kit::eventually([&] { return std::filesystem::exists(folder_ / node); })) << program->err();
    return program;
  }
  void let_go(const std::string& node) { std::ofstream(folder_ / ("go-" + node)) << "go"; }

  // What was on a is done on b, which alone is let go.
  void expect_all_done_on_b(kit::Program& program) {
    let_go("b");
    const auto ended = program.wait();
    ASSERT_TRUE(ended.has_value());
    EXPECT_TRUE(ended->exited_with(0)) << program.err();
    std::string all;
    for (int i = 0; i < 8; ++i) all += "done on b\n";
    EXPECT_EQ(program.out(), "held\n" + all) << program.err();
  }
  void expect_both_work() {
    const auto program = run("RAYX_LINKS_PROGRAM", {"count"});
    ASSERT_TRUE(program->wait().has_value());
    EXPECT_EQ(program->out(), "node a\nnode b\n") << program->err();
  }
  // One may have been given up, and is a member again a moment after it has heard of that; or a kernel has not found the way again behind a cable
  // that was just plugged in.
  void expect_both_work_again() {
    EXPECT_TRUE(kit::eventually([&] {
      const auto program = run("RAYX_LINKS_PROGRAM", {"count"});
      return program->wait().has_value() && program->out() == "node a\nnode b\n";
    }));
  }
  void expect_all_right(kit::Program& program) {
    const auto ended = program.wait();
    ASSERT_TRUE(ended.has_value());
    EXPECT_TRUE(ended->exited_with(0)) << program.out() << program.err();
    EXPECT_THAT(program.out(), testing::HasSubstr("all right"));
  }

  std::unique_ptr<kit::TestHosts> hosts_;
  std::unique_ptr<kit::Proxy> proxy_;
  std::string why_not_;
  int network_ = -1;
};

}  // namespace rayx::cluster_test

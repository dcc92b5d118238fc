// The command line as users and scripts meet it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kit/program.hpp"
#include "nodes.hpp"

namespace rayx::cluster_test {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;
using Json = nlohmann::json;

class Cli : public Nodes {
 protected:
  struct Outcome {
    bool has_ended = false;
    std::optional<kit::ExitStatus> status;
    std::string out;
    std::string err;
    bool exited_with(int code) const { return status && status->exited_with(code); }
  };
  // `rayx` with these words; its files of running nodes are the test's own.
  Outcome rayx(std::vector<std::string> words) {
    kit::Program program(variable("RAYX_CLI"),
                         {.arguments = std::move(words), .environment = {"XDG_RUNTIME_DIR=" + folder_.string()}});
    Outcome outcome;
    outcome.status = program.wait();
    outcome.out = program.out();
    outcome.err = program.err();
    return outcome;
  }
  std::vector<std::string> at_cluster(std::vector<std::string> words) const {
    words.insert(words.end(), {"--address", cluster(), "--token-file", token_file()});
    return words;
  }
  Json json_of(std::vector<std::string> words, int code = 0) {
    words.push_back("--json");
    const Outcome outcome = rayx(std::move(words));
    EXPECT_TRUE(outcome.exited_with(code)) << outcome.out << outcome.err;
    return Json::parse(outcome.out);
  }
};

TEST_F(Cli, HelpHasExamplesAndWrongWordsAreErrors) {
  for (const char* command : {"start", "stop", "status", "nodes", "drain", "doctor", "completion"}) {
    const Outcome help = rayx({command, "--help"});
    EXPECT_TRUE(help.exited_with(0));
    EXPECT_THAT(help.out, HasSubstr("Example")) << command;
    EXPECT_THAT(help.out, HasSubstr(std::string("rayx ") + command)) << command;
  }
  EXPECT_THAT(rayx({"--help"}).out, AllOf(HasSubstr("Exit codes"), HasSubstr("start"), HasSubstr("doctor")));
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{},
                                             {"fly"},
                                             {"start", "--head", "--address", "h:1"},
                                             {"start", "--port", "many"},
                                             {"start", "--head", "--num-cpus", "0"},
                                             {"drain"}}) {
    const Outcome wrong = rayx(words);
    EXPECT_TRUE(wrong.status && !wrong.exited_with(0) && !wrong.exited_with(1)) << wrong.out;
    EXPECT_FALSE(wrong.err.empty() && wrong.out.empty());
  }
  const Outcome nowhere = rayx({"start", "--token-file", token_file()});
  EXPECT_TRUE(nowhere.exited_with(1));
  EXPECT_THAT(nowhere.err, HasSubstr("rayx: a node needs a head"));
  const Outcome label = rayx({"start", "--head", "--port", "0", "--token-file", token_file(), "--label", "zone"});
  EXPECT_TRUE(label.exited_with(1));
  EXPECT_THAT(label.err, HasSubstr("the label \"zone\" has no value"));
}

TEST_F(Cli, StatusTellsWhatTheClusterIs) {
  start_node({.name = "a"});
  kit::Program waiting(variable("RAYX_VISITOR"), with_cluster({"wait"}));
  ASSERT_TRUE(waiting.read_until("waiting")) << waiting.err();
  const Json status = json_of(at_cluster({"status"}));
  ASSERT_EQ(status.at("nodes").size(), 1u);
  const Json& node = status.at("nodes").at(0);
  EXPECT_EQ(node.at("name"), "a");
  EXPECT_EQ(node.at("state"), "alive");
  EXPECT_EQ(node.at("num_cpus"), 2.0);
  EXPECT_EQ(node.at("id").get<std::string>().size(), 16u);
  ASSERT_EQ(status.at("jobs").size(), 1u);
  EXPECT_THAT(status.at("jobs").at(0).at("program").get<std::string>(), HasSubstr("cluster_visitor"));
  EXPECT_EQ(json_of(at_cluster({"nodes"})).at("nodes"), status.at("nodes"));
  const Outcome text = rayx(at_cluster({"status"}));
  EXPECT_THAT(text.out, AllOf(HasSubstr("1 nodes, 2 CPUs"), HasSubstr("cluster_visitor"), HasSubstr("alive")));
}

TEST_F(Cli, WhatIsNotThereIsSaid) {
  start_node();
  const Outcome nobody = rayx({"status", "--address", "127.0.0.1:1", "--token-file", token_file()});
  EXPECT_TRUE(nobody.exited_with(1));
  EXPECT_THAT(nobody.err, AllOf(StartsWith("rayx: "), HasSubstr("127.0.0.1:1")));
  const std::string other = (folder_ / "other").string();
  std::ofstream(other) << std::string(64, 'b');
  ::chmod(other.c_str(), 0600);
  const Outcome wrong = rayx({"status", "--address", cluster(), "--token-file", other});
  EXPECT_TRUE(wrong.exited_with(1));
  EXPECT_THAT(wrong.err, HasSubstr("the token differs"));
  const Outcome no_node = rayx(at_cluster({"drain", "nobody"}));
  EXPECT_TRUE(no_node.exited_with(1));
  EXPECT_THAT(no_node.err, HasSubstr("the cluster has no node \"nobody\""));
}

TEST_F(Cli, StopEndsTheNodesOfThisUser) {
  EXPECT_THAT(rayx({"stop"}).out, HasSubstr("no node of this user runs"));
  kit::Program node(variable("RAYX_CLI"),
                    {.arguments = {"start", "--head", "--port", "0", "--num-cpus", "1", "--token-file", token_file()},
                     .environment = {"XDG_RUNTIME_DIR=" + folder_.string()}});
  ASSERT_TRUE(node.read_until("./program")) << node.err();
  const Json stopped = json_of({"stop"});
  ASSERT_EQ(stopped.at("nodes").size(), 1u);
  EXPECT_EQ(stopped.at("nodes").at(0).at("pid"), node.pid());
  EXPECT_EQ(stopped.at("nodes").at(0).at("gone"), true);
  EXPECT_EQ(stopped.at("nodes").at(0).at("killed"), false);
  const auto ended = node.wait();
  ASSERT_TRUE(ended.has_value());
  EXPECT_TRUE(ended->exited_with(0)) << node.err();
  EXPECT_TRUE(node.everything_is_gone());
  EXPECT_TRUE(json_of({"stop"}).at("nodes").empty());
}

TEST_F(Cli, DoctorNamesWhatToChange) {
  const std::string used = start_node();
  const Json report = json_of({"doctor", "--port", used.substr(used.rfind(':') + 1)}, 2);
  EXPECT_EQ(report.at("ok"), false);
  int bad = 0;
  for (const Json& finding : report.at("findings")) {
    if (finding.at("ok")) continue;
    ++bad;
    EXPECT_THAT(finding.at("what").get<std::string>(), HasSubstr("port"));
    EXPECT_THAT(finding.at("change").get<std::string>(), HasSubstr("--port"));
  }
  EXPECT_EQ(bad, 1) << report.dump(2);
  const Outcome reached = rayx(at_cluster({"doctor"}));
  EXPECT_TRUE(reached.exited_with(0)) << reached.out;
  EXPECT_THAT(reached.out, HasSubstr("with 1 nodes"));
  ::chmod(token_file().c_str(), 0644);
  const Outcome open = rayx(at_cluster({"doctor"}));
  EXPECT_TRUE(open.exited_with(2)) << open.out;
  EXPECT_THAT(open.out, HasSubstr("chmod 600 " + token_file()));
  ::chmod(token_file().c_str(), 0600);
}

TEST_F(Cli, BashCompletesCommandsAndOptions) {
  const std::string script =
      "source <(\"$0\" completion bash)\n"
      "complete_at() { COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _rayx; echo \"${COMPREPLY[@]}\"; }\n"
      "complete_at rayx st\n"
      "complete_at rayx drain --wi\n"
      "complete_at rayx status --address ''\n"
      "complete_at rayx start --token-file /etc/host\n";
  kit::Program bash("/bin/bash", {.arguments = {"-c", script, variable("RAYX_CLI")}});
  ASSERT_TRUE(bash.wait().has_value());
  EXPECT_THAT(bash.out(), StartsWith("start stop status\n--within\n\n/etc/host")) << bash.err();
}

TEST_F(Cli, CompletionsAreMadeForZshAndFish) {
  EXPECT_THAT(rayx({"completion", "zsh"}).out, AllOf(StartsWith("#compdef rayx\n"), HasSubstr("--within[")));
  EXPECT_THAT(rayx({"completion", "fish"}).out, HasSubstr("__fish_seen_subcommand_from drain' -l within"));
  EXPECT_FALSE(rayx({"completion", "csh"}).exited_with(0));
}

}  // namespace
}  // namespace rayx::cluster_test

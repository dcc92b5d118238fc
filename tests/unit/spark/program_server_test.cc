// The program server against launchers that lie, repeat themselves, or talk nonsense. The right one, in Java, is in tests/spark.
#include "spark/program_server.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <random>
#include <thread>

#include "http/exchange.hpp"
#include "kit/raw_socket.hpp"
#include "kit/seed.hpp"
#include "spark/launcher.hpp"
#include "wire/crypto.hpp"

namespace rayx::spark {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string hex_of(std::span<const std::byte> bytes) {
  std::string text;
  for (const std::byte byte : bytes)
    for (const int shift : {4, 0}) text += "0123456789abcdef"[std::to_integer<unsigned>(byte) >> shift & 15];
  return text;
}

std::vector<std::byte> bytes_of_hex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2)
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  return bytes;
}

class ProgramServing : public testing::Test {
 protected:
  void SetUp() override {
    static bundle::FileDigests digests;
    Result<bundle::RunningProgram> program = bundle::describe_running_program(digests);
    ASSERT_TRUE(program) << program.error().message;
    program_ = std::make_shared<const bundle::RunningProgram>(std::move(*program));
    Result<std::unique_ptr<ProgramServer>> server =
        ProgramServer::start({.program = program_, .log = [this](const std::string& line) {
                                const std::lock_guard lock(mutex_);
                                log_.push_back(line);
                              }});
    ASSERT_TRUE(server) << server.error().message;
    server_ = std::move(*server);
  }

  // A launcher of the test's own, with the token of a ticket.
  struct Client {
    std::vector<std::byte> token;
    std::string nonce;

    std::string id() const {
      return hex_of(wire::hmac_sha256(token, {wire::bytes_of("rayx launch id")})).substr(0, 32);
    }
    std::string mac(std::string_view what, std::string_view n, std::string_view rest) const {
      return hex_of(wire::hmac_sha256(token, {wire::bytes_of(what), wire::bytes_of(n), wire::bytes_of(rest)}));
    }
    http::Request launch() const {
      const std::string body = nonce + "a-host";
      return {"POST", "/launch", {{"X-Rayx-Launch", id()}, {"X-Rayx-Mac", mac("rayx launch", {}, body)}}, body};
    }
    http::Request file(const std::string& digest) const {
      return {"GET", "/file/" + digest, {{"X-Rayx-Launch", id()}, {"X-Rayx-Mac", mac("rayx file", nonce, digest)}}};
    }
    http::Request report(const std::string& body) const {
      return {"POST", "/report", {{"X-Rayx-Launch", id()}, {"X-Rayx-Mac", mac("rayx report", nonce, body)}}, body};
    }
  };

  LaunchTicket ticket(const std::string& name = "node-1") {
    Result<LaunchTicket> made = server_->admit({.name = name, .environment = {{"SECRET", "of-the-cluster"}}});
    EXPECT_TRUE(made) << made.error().message;
    return *made;
  }
  static Client client(const LaunchTicket& ticket, const std::string& nonce = "0123456789abcdef") {
    return {bytes_of_hex(ticket.environment.at(kLauncherTokenVariable)), nonce};
  }
  int status_of(const http::Request& request) {
    http::Outcome outcome =
        http::exchange("127.0.0.1", server_->port(), request, http::Limits{.body_bytes_max = 512 << 20});
    EXPECT_TRUE(outcome.response) << outcome.response.error().message;
    if (!outcome.response) return 0;
    body_ = std::move(outcome.response->body);
    return outcome.response->status;
  }
  std::size_t file_index() const {
    std::size_t at = 0;
    for (std::size_t i = 0; i < program_->manifest.files.size(); ++i)
      if (program_->manifest.files[i].role == bundle::Role::kExecutable) at = i;
    return at;
  }

  std::mutex mutex_;
  std::vector<std::string> log_;
  std::shared_ptr<const bundle::RunningProgram> program_;
  std::unique_ptr<ProgramServer> server_;
  std::string body_;
};

TEST_F(ProgramServing, TheJarIsForEverybodyAndTellsThatItWasTaken) {
  const LaunchTicket made = ticket();
  const std::string url = "http://" + server_->advertised();
  ASSERT_TRUE(made.jar_url.starts_with(url + '/')) << made.jar_url;
  EXPECT_THAT(made.jar_url, Not(HasSubstr(made.environment.at(kLauncherTokenVariable).substr(0, 16))));
  EXPECT_EQ(server_->report("node-1")->stage, LaunchStage::kAdmitted);
  EXPECT_EQ(status_of({.target = made.jar_url.substr(url.size())}), 200);
  EXPECT_EQ(body_.size(), launcher_jar().size());
  EXPECT_EQ(server_->report("node-1")->stage, LaunchStage::kJarTaken);
  EXPECT_EQ(status_of({.target = "/rayx-launcher.jar"}), 200);
}

TEST_F(ProgramServing, TheDescriptionIsSealed) {
  const Client one = client(ticket());
  EXPECT_EQ(status_of(one.launch()), 200);
  EXPECT_THAT(body_, AllOf(Not(HasSubstr("of-the-cluster")), Not(HasSubstr("SECRET"))));
  EXPECT_EQ(server_->report("node-1")->stage, LaunchStage::kStarting);
  EXPECT_EQ(server_->report("node-1")->host, "a-host");
}

TEST_F(ProgramServing, OneThatAsksAgainIsAnsweredAndATwinIsNot) {
  const LaunchTicket made = ticket();
  EXPECT_EQ(status_of(client(made).launch()), 200);
  EXPECT_EQ(status_of(client(made).launch()), 200) << "its answer was lost";
  const Client twin = client(made, "fedcba9876543210");
  EXPECT_EQ(status_of(twin.launch()), 403);
  EXPECT_THAT(body_, HasSubstr("already"));
  EXPECT_EQ(status_of(twin.file(bundle::to_hex(program_->manifest.executable().digest))), 403);
  EXPECT_EQ(status_of(twin.report("ended 1\nit says\n")), 403);
  EXPECT_EQ(server_->report("node-1")->refusals, 1);
  EXPECT_EQ(server_->report("node-1")->stage, LaunchStage::kStarting) << "the twin has ended nothing";
}

TEST_F(ProgramServing, WithoutTheTokenThereIsNothing) {
  const Client right = client(ticket());
  const std::string digest = bundle::to_hex(program_->manifest.executable().digest);
  Client other = right;
  other.token.back() ^= std::byte{1};
  EXPECT_EQ(status_of(other.launch()), 403) << "an id that is not known";
  http::Request forged = other.launch();
  forged.headers[0].second = right.id();
  EXPECT_EQ(status_of(forged), 403) << "a proof under another token";
  http::Request bare = right.launch();
  bare.headers.pop_back();
  EXPECT_EQ(status_of(bare), 403) << "no proof";
  http::Request changed = right.launch();
  changed.body += "x";
  EXPECT_EQ(status_of(changed), 403) << "a proof of something else";
  EXPECT_EQ(status_of(right.file(digest)), 403) << "files only behind the description";
  EXPECT_EQ(server_->report("node-1")->stage, LaunchStage::kAdmitted);
  EXPECT_EQ(status_of(right.launch()), 200);
  http::Request elsewhere = right.file(digest);
  elsewhere.target = "/file/" + std::string(64, '0');
  EXPECT_EQ(status_of(elsewhere), 403) << "a proof for another file";
  EXPECT_EQ(status_of(right.file(std::string(64, '0'))), 404);
}

TEST_F(ProgramServing, AFileIsGivenWhole) {
  const Client one = client(ticket());
  ASSERT_EQ(status_of(one.launch()), 200);
  const bundle::File& file = program_->manifest.files[file_index()];
  ASSERT_EQ(status_of(one.file(bundle::to_hex(file.digest))), 200);
  EXPECT_EQ(bundle::sha256(std::as_bytes(std::span(body_))), file.digest);
}

TEST_F(ProgramServing, WhatWasRevokedIsRefused) {
  const LaunchTicket made = ticket();
  EXPECT_EQ(status_of(client(made).launch()), 200);
  server_->revoke("node-1");
  server_->revoke("node-1");
  EXPECT_EQ(status_of(client(made).launch()), 403);
  EXPECT_FALSE(server_->report("node-1"));
  EXPECT_EQ(status_of(client(ticket()).launch()), 200) << "the name is free again, with another token";
}

TEST_F(ProgramServing, TellsWhatALauncherReports) {
  const Client one = client(ticket());
  ASSERT_EQ(status_of(one.launch()), 200);
  EXPECT_EQ(status_of(one.report("started\n")), 200);
  EXPECT_EQ(server_->report("node-1")->stage, LaunchStage::kStarted);
  for (const char* nonsense : {"", "ended", "ended x\n", "ended 1", "begun\n"})
    EXPECT_EQ(status_of(one.report(nonsense)), 400) << nonsense;
  EXPECT_EQ(status_of(one.report("ended 7\nthe disk is full\nfirst\nlast\n")), 200);
  const LaunchReport report = *server_->report("node-1");
  EXPECT_EQ(report.stage, LaunchStage::kEnded);
  EXPECT_EQ(report.exit_code, 7);
  EXPECT_THAT(report.last_lines, testing::ElementsAre("first", "last"));
  EXPECT_THAT(server_->explain("node-1", ""), AllOf(HasSubstr("the disk is full"), HasSubstr("last")));
}

TEST_F(ProgramServing, ManyNodesAtOnceEachGetTheirs) {
  constexpr int kNodes = 40;
  std::vector<Client> clients;
  for (int i = 0; i < kNodes; ++i) clients.push_back(client(ticket("node-" + std::to_string(i))));
  std::atomic<int> served{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = t; i < kNodes; i += 8) {
        const http::Outcome outcome =
            http::exchange("127.0.0.1", server_->port(), clients[static_cast<std::size_t>(i)].launch(), {});
        served += outcome.response && outcome.response->status == 200;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(served, kNodes);
}

TEST_F(ProgramServing, StrangersGetNothingAndFillNoLog) {
  const Client right = client(ticket());
  std::mt19937_64 random(kit::seed());
  for (int i = 0; i < 200; ++i) {
    http::Request request = right.launch();
    std::string& victim = i % 3 == 0 ? request.body : request.headers[static_cast<std::size_t>(i % 2)].second;
    victim[random() % victim.size()] ^= 1;
    EXPECT_NE(status_of(request), 200);
  }
  EXPECT_EQ(status_of({.target = "/../../etc/passwd"}), 404);
  EXPECT_EQ(status_of(right.launch()), 200);
  const std::lock_guard lock(mutex_);
  EXPECT_FALSE(log_.empty());
  EXPECT_LE(log_.size(), 40u) << "20 a minute, and the test may see two of them";
  for (const std::string& line : log_) EXPECT_THAT(line, Not(HasSubstr("of-the-cluster")));
}

TEST_F(ProgramServing, AnAddressThatNoWorkerCanOpenIsRefused) {
  const auto server =
      ProgramServer::start({.program = program_, .address = "0.0.0.0", .advertised_setting = "SparkConfig::advertise"});
  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().message, AllOf(HasSubstr("0.0.0.0"), HasSubstr("SparkConfig::advertise")));
}

TEST_F(ProgramServing, AVariableThatJavaMayGarbleIsRefusedWithTheSetting) {
  for (const auto& [name, value] : {std::pair("CITY", "Zürich"), {"A B", "of mine"}}) {
    const Result<LaunchTicket> made = server_->admit({.name = "node-1", .environment = {{name, value}}});
    ASSERT_FALSE(made);
    EXPECT_THAT(made.error().message,
                AllOf(HasSubstr(name), HasSubstr("SparkConfig::environment"), Not(HasSubstr(value))));
  }
}

TEST_F(ProgramServing, ExplainsAJarThatNoWorkerCouldFetch) {
  const std::string url = ticket().jar_url;
  EXPECT_THAT(server_->explain("node-1", "java.net.ConnectException: " + url),
              AllOf(HasSubstr("firewall"), HasSubstr(server_->advertised()), HasSubstr("the advertised address")));
}

}  // namespace
}  // namespace rayx::spark

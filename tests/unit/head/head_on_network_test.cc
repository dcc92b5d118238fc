// A head and its members on real sockets, with a real disk, and killed.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <future>
#include <map>
#include <mutex>
#include <set>
#include <thread>

#include "base/clock.hpp"
#include "base/deadline.hpp"
#include "head/head_server.hpp"
#include "head/member_link.hpp"
#include "registry/message_codec.hpp"
#include "wire/listener.hpp"

namespace rayx::head {
namespace {

constexpr std::chrono::seconds kPatience{30};

// One thread with a loop, and what lives on it.
class LoopThread {
 public:
  LoopThread() : loop_(std::move(*wire::Loop::create(clock_))), thread_([this] { loop_->run(); }) {}
  ~LoopThread() {
    loop_->stop();
    thread_.join();
  }
  wire::Loop& loop() { return *loop_; }
  template <class Work>
  auto call(Work work) -> decltype(work()) {
    std::packaged_task<decltype(work())()> task(std::move(work));
    auto result = task.get_future();
    loop_->post([&task] { task(); });
    return result.get();
  }

 private:
  base::SteadyClock clock_;
  std::unique_ptr<wire::Loop> loop_;
  std::thread thread_;
};

// A head behind a listener, as a node's process has it.
class Server {
 public:
  Server(const wire::Token& token, const std::string& folder, std::uint16_t port = 0) {
    error = thread_.call([&]() -> std::string {
      Result<std::unique_ptr<HeadServer>> made =
          HeadServer::create(thread_.loop(), {folder, [this](const std::string& line) {
                                                const std::lock_guard lock(mutex_);
                                                log_ += line + '\n';
                                              }});
      if (!made) return made.error().message;
      server_ = std::move(*made);
      wire::ListenerOptions options;
      options.port = port;
      wire::LinkConfig link{token, wire::TlsPolicy::kOffLoopback, {}, {}};
      link.options.control_bytes_max = wire::kControlBytesCeiling;
      auto listener = wire::Listener::create(
          thread_.loop(), options, link, [this](std::unique_ptr<wire::Link> taken) { server_->take(std::move(taken)); },
          [](const wire::RefusedReport&) {});
      if (!listener) return listener.error().message;
      listener_ = std::move(*listener);
      endpoint = listener_->endpoint();
      return "";
    });
  }
  ~Server() {
    thread_.call([&] { listener_.reset(), server_.reset(); });
  }
  template <class Look>
  auto look(Look look) {
    return thread_.call([&] { return look(server_->state()); });
  }
  std::string log() {
    const std::lock_guard lock(mutex_);
    return log_;
  }

  std::string error;
  wire::Endpoint endpoint;

 private:
  std::mutex mutex_;
  std::string log_;
  LoopThread thread_;
  std::unique_ptr<HeadServer> server_;
  std::unique_ptr<wire::Listener> listener_;
};

class Participant final : public MemberHandler {
 public:
  Participant(const wire::Endpoint& head, const wire::Token& token, registry::NodeId id, registry::MemberKind kind) {
    thread_.call([&] {
      registry::Identity identity;
      identity.node = id;
      identity.kind = kind;
      identity.name = "member " + std::to_string(id.value);
      identity.address = ":7";
      identity.resources.cpus = 2 * base::kUnitsOfOne;
      member_ = std::make_unique<MemberLink>(thread_.loop(), head,
                                             wire::LinkConfig{token, wire::TlsPolicy::kOffLoopback, {}, {}},
                                             std::move(identity), static_cast<MemberHandler&>(*this));
      member_->start();
    });
  }
  ~Participant() {
    thread_.call([&] { member_.reset(); });
  }
  registry::Answer ask(registry::RequestBody body) {
    std::promise<registry::Answer> answered;
    thread_.call([&] {
      member_->request(std::move(body), [&](const registry::Answer& answer) { answered.set_value(answer); });
    });
    auto answer = answered.get_future();
    if (answer.wait_for(kPatience) != std::future_status::ready) {
      ADD_FAILURE() << "no answer";
      std::abort();
    }
    return answer.get();
  }
  // Waits until it is so on the member's thread.
  void wait(const char* what, const std::function<bool(const registry::Member&, const Participant&)>& is_so) {
    std::unique_lock lock(mutex_);
    const base::Deadline deadline(kPatience);
    while (true) {
      lock.unlock();
      const bool is_now = thread_.call([&] { return is_so(member_->member(), *this); });
      lock.lock();
      if (is_now) return;
      // An event wakes; heartbeats come without one.
      ASSERT_FALSE(deadline.has_passed()) << what;
      changed_.wait_for(lock, std::chrono::milliseconds(20));
    }
  }
  template <class Work>
  void on_loop(Work work) {
    thread_.call([&] { work(member_->member()); });
  }

  // Of the loop's thread.
  std::vector<registry::PlaceActor> started;
  std::vector<registry::ActorState> states;
  std::vector<std::string> over;
  std::set<registry::JobId> ended_jobs;
  int joined = 0;
  int away = 0;

 private:
  void changed() { changed_.notify_all(); }
  void node_changed(const registry::NodeView&) override { changed(); }
  void start_actor(const registry::PlaceActor& place) override {
    started.push_back(place);
    member_->member().actor_alive(place.actor, place.incarnation);
    changed();
  }
  void end_actor(registry::ActorId actor, registry::Incarnation incarnation, registry::EndCause cause) override {
    member_->member().actor_ended(actor, incarnation, cause, "it was asked to");
  }
  void job_ended(registry::JobId job, const std::string&) override { ended_jobs.insert(job), changed(); }
  void job_over(registry::JobId) override {}
  void actor_changed(const registry::ActorState& state) override { states.push_back(state), changed(); }
  void published(const registry::Published&) override {}
  void subscribed(const std::string&, bool) override {}
  void missed(const std::string&, std::optional<std::uint64_t>) override {}
  void drain(base::TimeNs, const std::string&) override { member_->member().drain_done(); }
  void left() override { over.push_back("left"), changed(); }
  void start_anew(const std::string& message) override { over.push_back(message), changed(); }
  void is_over(const std::string& message) override { over.push_back(message), changed(); }
  void head_is_away(const Error&) override { ++away, changed(); }
  void is_joined() override { ++joined, changed(); }

  std::mutex mutex_;
  std::condition_variable changed_;
  LoopThread thread_;
  std::unique_ptr<MemberLink> member_;
};

class HeadOnNetwork : public testing::Test {
 protected:
  HeadOnNetwork() {
    std::string pattern = (std::filesystem::temp_directory_path() / "rayx-head-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no folder for the test");
    folder_ = pattern;
  }
  ~HeadOnNetwork() override { std::filesystem::remove_all(folder_); }

  static bool sees(const registry::Member& member, std::size_t nodes) {
    return member.is_joined() && member.nodes().size() == nodes;
  }

  std::filesystem::path folder_;
  const wire::Token token_ = wire::Token::make_random();
};

TEST_F(HeadOnNetwork, MembersSeeEachOtherAndWhereTheyAre) {
  Server head(token_, "");
  ASSERT_EQ(head.error, "");
  Participant one(head.endpoint, token_, {1}, registry::MemberKind::kNode);
  Participant two(head.endpoint, token_, {2}, registry::MemberKind::kDriver);
  for (Participant* const it : {&one, &two})
    it->wait("two nodes", [](const registry::Member& member, const Participant&) { return sees(member, 2); });
  one.on_loop([](const registry::Member& member) {
    EXPECT_EQ(member.nodes().at({2}).address, "127.0.0.1:7") << "the head adds the host from which it comes";
    EXPECT_EQ(member.nodes().at({2}).kind, registry::MemberKind::kDriver);
  });
}

TEST_F(HeadOnNetwork, APeerThatSendsGarbageLosesItsLinkAndNothingElse) {
  Server head(token_, "");
  Participant one(head.endpoint, token_, {1}, registry::MemberKind::kNode);
  one.wait("one node", [](const registry::Member& member, const Participant&) { return sees(member, 1); });
  struct Noise final : wire::LinkHandler {
    std::promise<std::string> closed;
    void on_control(std::span<const std::byte>) override {}
    std::span<std::byte> on_payload(const wire::PayloadChunk&) override { return {}; }
    void on_payload_end(const wire::PayloadChunk&) override {}
    void on_closed(const wire::CloseReason& reason) override { closed.set_value(reason.message); }
  } noise;
  LoopThread thread;
  std::unique_ptr<wire::Connector> connector;
  std::unique_ptr<wire::Link> link;
  thread.call([&] {
    connector = std::make_unique<wire::Connector>(thread.loop(), head.endpoint,
                                                  wire::LinkConfig{token_, wire::TlsPolicy::kOffLoopback, {}, {}},
                                                  [&](Result<std::unique_ptr<wire::Link>> made) {
                                                    link = std::move(*made);
                                                    link->open(noise);
                                                    link->send(std::as_bytes(std::span("what is this?")));
                                                  });
  });
  auto closed = noise.closed.get_future();
  ASSERT_EQ(closed.wait_for(kPatience), std::future_status::ready);
  EXPECT_NE(closed.get().find("cannot be read"), std::string::npos);
  thread.call([&] { connector.reset(), link.reset(); });
  EXPECT_NE(head.log().find("cannot be read"), std::string::npos);
  EXPECT_EQ(head.look([](const registry::Head& it) { return it.nodes().size(); }), 1u);
}

// Nothing is told to a killed head: its process's memory is as good as gone when the object is.
TEST_F(HeadOnNetwork, AHeadThatIsStartedAgainGoesOn) {
  auto head = std::make_unique<Server>(token_, folder_.string());
  ASSERT_EQ(head->error, "");
  const wire::Endpoint endpoint = head->endpoint;
  Participant node(endpoint, token_, {1}, registry::MemberKind::kNode);
  Participant driver(endpoint, token_, {2}, registry::MemberKind::kDriver);
  driver.wait("two nodes", [](const registry::Member& member, const Participant&) { return sees(member, 2); });
  const registry::Answer job = driver.ask(registry::StartJob{"bundle", "program", "space"});
  ASSERT_EQ(job.status, registry::Status::kOk) << job.message;
  registry::CreateActor creation;
  creation.actor = {77};
  creation.job = std::get<registry::JobInfo>(job.body).job;
  creation.resources.cpus = base::kUnitsOfOne;
  creation.name = "the one";
  creation.name_space = "space";
  ASSERT_EQ(driver.ask(creation).status, registry::Status::kOk);
  ASSERT_EQ(driver.ask(registry::KvPut{"", "key", "value", true}).status, registry::Status::kOk);
  node.wait("the actor", [](const registry::Member&, const Participant& it) { return it.started.size() == 1; });

  for (int round = 1; round <= 3; ++round) {
    head.reset();
    for (Participant* const it : {&node, &driver})
      it->wait("the head to be missed",
               [round](const registry::Member&, const Participant& p) { return p.away >= round; });
    head = std::make_unique<Server>(token_, folder_.string(), endpoint.port);
    ASSERT_EQ(head->error, "");
    EXPECT_NE(head->log().find("2 members, 1 actors, 1 jobs"), std::string::npos) << head->log();
    EXPECT_EQ(head->look([](const registry::Head& it) { return it.epoch(); }), static_cast<std::uint64_t>(round + 1));
    for (Participant* const it : {&node, &driver})
      it->wait("two nodes again", [](const registry::Member& member, const Participant&) { return sees(member, 2); });
    const registry::Answer found = driver.ask(registry::LookUpName{"space", "the one"});
    ASSERT_EQ(found.status, registry::Status::kOk) << found.message;
    EXPECT_EQ(std::get<registry::ActorId>(found.body), registry::ActorId{77});
    EXPECT_EQ(std::get<std::string>(driver.ask(registry::KvGet{"", "key"}).body), "value");
  }
  node.on_loop([&](const registry::Member& member) {
    EXPECT_EQ(node.started.size(), 1u) << "it was placed twice";
    EXPECT_TRUE(member.is_joined());
    EXPECT_TRUE(node.over.empty());
  });
}

TEST_F(HeadOnNetwork, TwoHeadsDoNotShareAFolder) {
  Server one(token_, folder_.string());
  ASSERT_EQ(one.error, "");
  // The lock is the process's: another one cannot have it. In this process SQLite itself refuses the second.
  Server two(token_, folder_.string());
  EXPECT_NE(two.error.find("another process has it open"), std::string::npos) << two.error;
}

TEST_F(HeadOnNetwork, WhoLeavesIsGoneAtOnceAndItsJobWithIt) {
  Server head(token_, "");
  Participant node(head.endpoint, token_, {1}, registry::MemberKind::kNode);
  Participant driver(head.endpoint, token_, {2}, registry::MemberKind::kDriver);
  driver.wait("two nodes", [](const registry::Member& member, const Participant&) { return sees(member, 2); });
  const registry::Answer job = driver.ask(registry::StartJob{"bundle", "program", ""});
  const registry::JobId id = std::get<registry::JobInfo>(job.body).job;
  ASSERT_EQ(node.ask(registry::LookUpJob{id}).status, registry::Status::kOk);
  driver.on_loop([](registry::Member& member) { member.leave("done"); });
  driver.wait("the farewell", [](const registry::Member&, const Participant& it) { return it.over.size() == 1; });
  node.wait("the end of the job", [id](const registry::Member& member, const Participant& it) {
    return it.ended_jobs.contains(id) && member.nodes().size() == 1;
  });
}

}  // namespace
}  // namespace rayx::head

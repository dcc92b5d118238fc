// What the tests of links share: loops in threads of their own, two ends that are connected, and a handler that writes all down.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.hpp"
#include "wire/crypto.hpp"
#include "wire/link.hpp"
#include "wire/listener.hpp"
#include "wire/loop.hpp"

namespace rayx::wire::test {

inline constexpr std::chrono::seconds kPatience{30};
using Bytes = std::vector<std::byte>;

inline Bytes to_bytes(std::string_view text) { return Bytes(bytes_of(text).begin(), bytes_of(text).end()); }
inline std::string to_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// A loop and the thread that runs it.
class LoopThread {
 public:
  explicit LoopThread(const base::Clock& clock = steady())
      : loop_(*Loop::create(clock)), thread_([this] { loop_->run(); }) {}
  ~LoopThread() {
    loop_->stop();
    thread_.join();
  }
  Loop& loop() { return *loop_; }
  // Runs it on the loop's thread and waits for what it gives.
  template <class F>
  auto call(F work) -> decltype(work()) {
    auto task = std::make_shared<std::packaged_task<decltype(work())()>>(std::move(work));
    auto result = task->get_future();
    loop_->post([task] { (*task)(); });
    return result.get();
  }

 private:
  static const base::Clock& steady() {
    static const base::SteadyClock clock;
    return clock;
  }
  std::unique_ptr<Loop> loop_;
  std::thread thread_;
};

// Something that threads change and a test waits for.
template <class T>
class Watched {
 public:
  template <class F>
  void change(F change) {
    const std::lock_guard lock(mutex_);
    change(value_);
    changed_.notify_all();
  }
  template <class F>
  [[nodiscard]] bool wait(F is_so, std::chrono::milliseconds limit = kPatience) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, limit, [&] { return is_so(value_); });
  }
  T get() {
    const std::lock_guard lock(mutex_);
    return value_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  T value_{};
};

struct Heard {
  std::vector<std::string> control;
  std::vector<CloseReason> closed;
  std::size_t chunks = 0;
  int writable = 0;
};

class RecordingHandler : public LinkHandler {
 public:
  void on_control(std::span<const std::byte> bytes) override {
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(bytes.data()) % 8, 0u);
    heard.change([&](Heard& all) {
      EXPECT_TRUE(all.closed.empty()) << "a call after on_closed";
      all.control.push_back(to_text(bytes));
    });
  }
  std::span<std::byte> on_payload(const PayloadChunk& chunk) override {
    if (chunk.offset + chunk.bytes > place.size()) return {};
    return std::span(place).subspan(chunk.offset, chunk.bytes);
  }
  void on_payload_end(const PayloadChunk&) override {
    heard.change([](Heard& all) { ++all.chunks; });
  }
  void on_writable() override {
    heard.change([](Heard& all) { ++all.writable; });
  }
  void on_closed(const CloseReason& reason) override {
    heard.change([&](Heard& all) { all.closed.push_back(reason); });
  }
  [[nodiscard]] bool wait_closed(std::chrono::milliseconds limit = kPatience) {
    return heard.wait([](const Heard& all) { return !all.closed.empty(); }, limit);
  }
  CloseReason reason() { return heard.get().closed.at(0); }

  Watched<Heard> heard;
  Bytes place;
};

// One end: its loop, and the link when there is one.
struct End {
  LoopThread thread;
  std::unique_ptr<Link> link;  // touched on its loop only
  RecordingHandler handler;
  ~End() {
    thread.call([&] { link.reset(); });
  }
};

// A listener with all that it has told.
struct Server : End {
  explicit Server(const LinkConfig& config, ListenerOptions options = {}, bool opens = true) {
    endpoint = thread.call([&] {
      Result<std::unique_ptr<Listener>> made = Listener::create(
          thread.loop(), options, config,
          [this, opens](std::unique_ptr<Link> taken) {
            link = std::move(taken);
            if (opens) link->open(handler);
            links.change([](int& count) { ++count; });
          },
          [this](const RefusedReport& report) {
            refused.change([&](std::vector<RefusedReport>& all) { all.push_back(report); });
          });
      EXPECT_TRUE(made) << made.error().message;
      listener = std::move(*made);
      return listener->endpoint();
    });
  }
  ~Server() {
    thread.call([&] { listener.reset(); });
  }
  std::string wait_refusal() {
    EXPECT_TRUE(refused.wait([](const auto& all) { return !all.empty(); }));
    const auto all = refused.get();
    return all.empty() ? "" : all[0].message;
  }

  std::unique_ptr<Listener> listener;
  Endpoint endpoint;
  Watched<int> links;
  Watched<std::vector<RefusedReport>> refused;
};

struct Client : End {
  // Waits for the answer; an empty text is success.
  std::string connect(const Endpoint& to, const LinkConfig& config,
                      std::chrono::milliseconds timeout = kConnectTimeout) {
    std::promise<std::string> answered;
    thread.call([&] {
      connector = std::make_unique<Connector>(
          thread.loop(), to, config,
          [&](Result<std::unique_ptr<Link>> made) {
            if (made) {
              link = std::move(*made);
              link->open(handler);
            } else {
              code = made.error().code;
            }
            answered.set_value(made ? "" : made.error().message);
          },
          timeout);
    });
    auto answer = answered.get_future();
    EXPECT_EQ(answer.wait_for(kPatience), std::future_status::ready);
    std::string text = answer.get();
    thread.call([&] { connector.reset(); });
    return text;
  }
  Sent send(std::string_view text) {
    return thread.call([&] { return link->send(bytes_of(text)); });
  }

  std::unique_ptr<Connector> connector;
  ErrorCode code = ErrorCode::kOk;
};

inline LinkConfig with(const Token& token, TlsPolicy tls = TlsPolicy::kOffLoopback, std::string_view hello = {}) {
  return {token, tls, to_bytes(hello), {}};
}

}  // namespace rayx::wire::test

// CAF 0.17 beside us: actors as objects of one process, run by a pool of threads.
#include <caf/all.hpp>
#include <cstdint>

#include "../kit.hpp"

namespace {

constexpr int kBatch = 1000;

caf::behavior counter(caf::event_based_actor*) {
  return {[](std::uint64_t x) { return x + 1; }};
}

double actor_sync_us(caf::scoped_actor& self, const caf::actor& actor) {
  constexpr int kCalls = 3'000;
  std::uint64_t sum = 0;
  const double seconds = bench::seconds_of([&] {
    for (std::uint64_t i = 0; i < kCalls; ++i) {
      self->request(actor, caf::infinite, i)
          .receive([&](std::uint64_t result) { sum += result; },
                   [](const caf::error&) { bench::check(false, "a request failed"); });
    }
  });
  bench::check(sum == std::uint64_t{kCalls} * (kCalls + 1) / 2, "wrong results of actor_sync");
  return seconds / kCalls * 1e6;
}

double actor_async_per_s(caf::scoped_actor& self, const caf::actor& actor) {
  constexpr int kBatches = 100;
  std::uint64_t sum = 0;
  const double seconds = bench::seconds_of([&] {
    for (int batch = 0; batch < kBatches; ++batch) {
      for (std::uint64_t i = 0; i < kBatch; ++i) self->send(actor, i);
      int received = 0;
      self->receive_while([&] { return received < kBatch; })([&](std::uint64_t result) {
        sum += result;
        ++received;
      });
    }
  });
  bench::check(sum == std::uint64_t{kBatches} * kBatch * (kBatch + 1) / 2, "wrong results of actor_async_1k");
  return kBatches * kBatch / seconds;
}

}  // namespace

int main() {
  caf::actor_system_config config;
  caf::actor_system system(config);
  const caf::actor actor = system.spawn(counter);
  caf::scoped_actor self(system);
  actor_sync_us(self, actor);
  bench::report("actor_sync", "us", bench::median_of(3, [&] { return actor_sync_us(self, actor); }));
  bench::report("actor_async_1k", "1/s", bench::median_of(5, [&] { return actor_async_per_s(self, actor); }));
  self->send_exit(actor, caf::exit_reason::user_shutdown);
  return 0;
}

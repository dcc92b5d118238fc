// A million real flights, cut into parts that lie in the store: for each hour of the day the mean delay and how surely it is known, by
// drawing the flights anew some hundred times (the bootstrap). First on one node, then on all of them; the results must be the same.
//
//   RAYX_SPARK_MASTER=spark://host:6066 spark_parallel_processing [NODES] [DRAWS] [SAMPLE]
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <random>

#include "demo_cluster.hpp"
#include "flight_sample.hpp"

namespace {

constexpr std::size_t kParts = 24;

struct Sums {
  std::array<double, kHours> delay = {};
  std::array<double, kHours> flights = {};
};
struct Draws {
  std::vector<Sums> each;  // one for each draw
};

// The task: of a part of the table, so many draws. The seed makes it the same wherever it runs.
Draws draw(std::span<const std::int16_t> delays, std::span<const std::uint8_t> hours, std::uint64_t seed, int count) {
  Draws draws;
  std::mt19937_64 random(seed);
  for (int i = 0; i < count; ++i) {
    Sums sums;
    for (std::size_t n = 0; n < delays.size(); ++n) {
      const std::size_t pick = (random() >> 32) * delays.size() >> 32;
      sums.delay[hours[pick]] += delays[pick];
      sums.flights[hours[pick]] += 1;
    }
    draws.each.push_back(sums);
  }
  return draws;
}

struct Part {
  rayx::ObjectRef<rayx::Array<std::int16_t>> delays;
  rayx::ObjectRef<rayx::Array<std::uint8_t>> hours;
};

std::vector<Part> read_parts(const FlightSample& sample) {
  std::vector<Part> parts;
  FlightReader reader(sample);
  for (std::size_t i = 0; i < kParts; ++i) {
    const std::size_t rows = sample.flights() * (i + 1) / kParts - sample.flights() * i / kParts;
    rayx::ArrayBuilder<std::int16_t> delays(rows);
    rayx::ArrayBuilder<std::uint8_t> hours(rows);
    std::vector<std::uint8_t> origins(rows);
    reader.read(delays, origins, hours);
    parts.push_back({rayx::put(std::move(delays)), rayx::put(std::move(hours))});
  }
  return parts;
}

// Mean and standard error for each hour.
using Table = std::array<std::pair<double, double>, kHours>;

Table run(const std::vector<Part>& parts, int draws, const rayx::TaskOptions& where, double& seconds) {
  const auto begin = std::chrono::steady_clock::now();
  std::vector<rayx::ObjectRef<Draws>> drawn;
  for (std::size_t i = 0; i < parts.size(); ++i)
    drawn.push_back(rayx::remote<draw>(where, parts[i].delays, parts[i].hours, std::uint64_t{i + 1}, draws));
  std::vector<Sums> total(static_cast<std::size_t>(draws));
  for (const auto& part : drawn) {
    const Draws found = rayx::get(part);
    for (std::size_t i = 0; i < total.size(); ++i)
      for (std::size_t hour = 0; hour < kHours; ++hour) {
        total[i].delay[hour] += found.each[i].delay[hour];
        total[i].flights[hour] += found.each[i].flights[hour];
      }
  }
  Table table{};
  for (std::size_t hour = 0; hour < kHours; ++hour) {
    double sum = 0;
    double squares = 0;
    for (const Sums& sums : total) {
      const double mean = sums.flights[hour] == 0 ? 0 : sums.delay[hour] / sums.flights[hour];
      sum += mean;
      squares += mean * mean;
    }
    const double mean = sum / draws;
    table[hour] = {mean, std::sqrt(std::max(0.0, squares / draws - mean * mean))};
  }
  seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  return table;
}

}  // namespace

int main(int argc, char** argv) {
  const int draws = argc > 2 ? std::max(1, std::atoi(argv[2])) : 40;
  const FlightSample sample(argc > 3 ? std::filesystem::path(argv[3]) : find_flight_sample());
  rayx::Cluster cluster = demo_cluster(nodes_wanted(argc, argv, 2));
  rayx::Runtime runtime = rayx::init();
  const std::vector<rayx::NodeInfo> nodes = rayx::nodes();
  const std::vector<Part> parts = read_parts(sample);

  double one_s = 0;
  double all_s = 0;
  const Table one = run(parts, draws, on(nodes.front()), one_s);
  const Table all = run(parts, draws, {.spread = true}, all_s);
  std::printf("hour    mean delay   standard error\n");
  for (std::size_t hour = 6; hour < kHours; hour += 3)
    std::printf("%02zu:00 %8.2f min %11.3f min\n", hour, all[hour].first, all[hour].second);
  std::printf("%zu flights, %d draws: one node %.2f s, %zu nodes %.2f s, %.2f times as fast; %s\n", sample.flights(),
              draws, one_s, nodes.size(), all_s, one_s / all_s,
              one == all ? "the results are the same" : "THE RESULTS DIFFER");
  return one == all ? 0 : 1;
}

// Which airports are late, and when? A table of real flights is cut into parts that lie in shared memory; one task a part adds
// up the delays by airport and hour; an actor gathers what the tasks found. The result is compared with a sequential run.
//
//   flight_delays [--rows N] [--sample PATH]
#include <rayx/rayx.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <numeric>

#include "flight_sample.hpp"

namespace {

constexpr std::size_t kPartRows = 1'000'000;
constexpr std::size_t kPartsInFlight = 12;  // so many lie in the store; the others wait for their room

// Upper bounds of the classes in which delays are counted, in minutes. The last class has none.
constexpr std::array<int, 27> kBounds = {-15, -10, -5,  0,   5,   10,  15,  20,  25,  30,  40,  50,  60,  75,
                                         90,  105, 120, 150, 180, 210, 240, 300, 360, 480, 600, 900, 1200};

// All flights that left one airport in one hour of the day. Plain data: it travels without any declaration.
struct Delays {
  std::uint32_t flights = 0;
  std::int32_t longest = INT32_MIN;
  std::int64_t total = 0;
  std::array<std::uint32_t, kBounds.size() + 1> classes = {};

  bool operator==(const Delays&) const = default;
  void merge(const Delays& other) {
    flights += other.flights;
    longest = std::max(longest, other.longest);
    total += other.total;
    for (std::size_t i = 0; i < classes.size(); ++i) classes[i] += other.classes[i];
  }
  double mean() const { return flights == 0 ? 0 : static_cast<double>(total) / flights; }
  // So late at most are nine flights of ten; taken linearly inside its class.
  double nine_of_ten() const {
    double left = 0.9 * flights;
    std::size_t i = 0;
    while (i < kBounds.size() && left > classes[i]) left -= classes[i++];
    if (i == 0) return kBounds[0];
    if (i == kBounds.size()) return longest;
    return std::min<double>(longest, kBounds[i - 1] + (kBounds[i] - kBounds[i - 1]) * left / classes[i]);
  }
};

// The class of each delay that is not beyond the bounds: one look-up for each flight.
constexpr auto kClassOf = [] {
  std::array<std::uint8_t, kBounds.back() - kBounds.front() + 2> table{};
  for (std::size_t i = 0; i < table.size(); ++i) {
    const int delay = kBounds.front() + static_cast<int>(i);
    while (table[i] < kBounds.size() && delay > kBounds[table[i]]) ++table[i];
  }
  return table;
}();

// table[airport * kHours + hour] gains the flights of the columns.
void add_flights(std::span<const std::int16_t> delays, std::span<const std::uint8_t> origins,
                 std::span<const std::uint8_t> hours, std::span<Delays> table) {
  for (std::size_t i = 0; i < delays.size(); ++i) {
    Delays& cell = table[origins[i] * std::size_t{kHours} + hours[i]];
    const int delay = delays[i];
    ++cell.flights;
    cell.longest = std::max(cell.longest, delay);
    cell.total += delay;
    ++cell.classes[kClassOf[static_cast<std::size_t>(std::clamp(delay, kBounds.front(), kBounds.back() + 1) -
                                                     kBounds.front())]];
  }
}

// The task. It reads the columns where they lie, and makes its result where it will be read.
rayx::ArrayBuilder<Delays> delays_of_part(std::span<const std::int16_t> delays, std::span<const std::uint8_t> origins,
                                          std::span<const std::uint8_t> hours, std::size_t airports) {
  rayx::ArrayBuilder<Delays> table(airports * kHours);
  std::fill(table.begin(), table.end(), Delays{});
  add_flights(delays, origins, hours, table);
  return table;
}

// The actor: keeps the sum of all parts, and says how far it is.
class Gatherer {
 public:
  Gatherer(std::size_t airports, std::size_t parts) : table_(airports * kHours), parts_(parts) {}
  std::size_t add(std::span<const Delays> part) {
    for (std::size_t i = 0; i < table_.size(); ++i) table_[i].merge(part[i]);
    ++done_;
    if (done_ * 4 / parts_ > (done_ - 1) * 4 / parts_) {
      std::printf("%zu of %zu parts\n", done_, parts_);
      std::fflush(stdout);
    }
    return done_;
  }
  std::vector<Delays> table() const { return table_; }

 private:
  std::vector<Delays> table_;
  std::size_t parts_;
  std::size_t done_ = 0;
};

std::size_t rows_of_part(std::size_t part, std::size_t rows) { return std::min(kPartRows, rows - part * kPartRows); }

std::vector<Delays> run_parallel(const FlightSample& sample, std::size_t rows) {
  const std::size_t parts = (rows + kPartRows - 1) / kPartRows;
  auto gatherer = rayx::actor<Gatherer>(sample.airports(), parts);
  FlightReader reader(sample);
  std::deque<rayx::ObjectRef<std::size_t>> in_flight;
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t count = rows_of_part(part, rows);
    rayx::ArrayBuilder<std::int16_t> delays(count);
    rayx::ArrayBuilder<std::uint8_t> origins(count);
    rayx::ArrayBuilder<std::uint8_t> hours(count);
    reader.read(delays, origins, hours);
    auto found = rayx::remote<delays_of_part>(rayx::put(std::move(delays)), rayx::put(std::move(origins)),
                                              rayx::put(std::move(hours)), sample.airports());
    in_flight.push_back(gatherer.call<&Gatherer::add>(found));
    if (in_flight.size() == kPartsInFlight) {
      rayx::get(in_flight.front());
      in_flight.pop_front();
    }
  }
  return rayx::get(gatherer.call<&Gatherer::table>());  // after all calls of add: one caller's calls run in order
}

// The same work in one thread, without rayx.
std::vector<Delays> run_sequential(const FlightSample& sample, std::size_t rows) {
  FlightReader reader(sample);
  std::vector<Delays> table(sample.airports() * kHours);
  std::vector<std::int16_t> delays(kPartRows);
  std::vector<std::uint8_t> origins(kPartRows);
  std::vector<std::uint8_t> hours(kPartRows);
  for (std::size_t part = 0; part * kPartRows < rows; ++part) {
    const std::size_t count = rows_of_part(part, rows);
    const std::span columns(delays.data(), count);
    reader.read(columns, {origins.data(), count}, {hours.data(), count});
    add_flights(columns, {origins.data(), count}, {hours.data(), count}, table);
  }
  return table;
}

void print_table(const FlightSample& sample, const std::vector<Delays>& table) {
  std::vector<Delays> by_airport(sample.airports());
  std::vector<Delays> by_hour(kHours);
  for (std::size_t i = 0; i < table.size(); ++i) {
    by_airport[i / kHours].merge(table[i]);
    by_hour[i % kHours].merge(table[i]);
  }
  std::vector<std::size_t> airports(sample.airports());
  std::iota(airports.begin(), airports.end(), std::size_t{0});
  std::erase_if(airports, [&](std::size_t i) { return by_airport[i].flights == 0; });
  std::ranges::stable_sort(airports, std::greater{}, [&](std::size_t i) { return by_airport[i].flights; });

  std::printf("\nairport     flights   mean delay   9 of 10 at most   longest   worst hour   its mean\n");
  for (const std::size_t airport : std::span(airports).first(std::min<std::size_t>(10, airports.size()))) {
    const Delays& all = by_airport[airport];
    std::size_t worst = kHours;
    for (std::size_t hour = 0; hour < kHours; ++hour) {
      const Delays& cell = table[airport * kHours + hour];
      // An hour with hardly a flight says nothing.
      if (cell.flights * 200 < all.flights) continue;
      if (worst == kHours || cell.mean() > table[airport * kHours + worst].mean()) worst = hour;
    }
    std::printf("%-7s %11u %8.1f min %13.0f min %5d min   %02zu:00-%02zu:59 %6.1f min\n", sample.code(airport).c_str(),
                all.flights, all.mean(), all.nine_of_ten(), all.longest, worst, worst,
                table[airport * kHours + worst].mean());
  }
  std::vector<std::size_t> hours(kHours);
  std::iota(hours.begin(), hours.end(), std::size_t{0});
  std::erase_if(hours, [&](std::size_t hour) { return by_hour[hour].flights == 0; });
  std::ranges::stable_sort(hours, std::greater{}, [&](std::size_t hour) { return by_hour[hour].mean(); });
  std::printf("\nhour            flights   mean delay   9 of 10 at most\n");
  for (const std::size_t hour : std::span(hours).first(std::min<std::size_t>(5, hours.size()))) {
    std::printf("%02zu:00-%02zu:59 %11u %8.1f min %13.0f min\n", hour, hour, by_hour[hour].flights,
                by_hour[hour].mean(), by_hour[hour].nine_of_ten());
  }
}

template <class F>
double seconds_of(F&& work) {
  const auto begin = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void run(std::size_t rows, const std::filesystem::path& path) {
  const FlightSample sample(path);
  std::printf("%zu flights of %zu days from %zu airports, repeated to %zu rows\n", sample.flights(), sample.days(),
              sample.airports(), rows);
  const rayx::Runtime runtime = rayx::init();
  std::vector<Delays> table;
  std::vector<Delays> expected;
  const double parallel_s = seconds_of([&] { table = run_parallel(sample, rows); });
  const double sequential_s = seconds_of([&] { expected = run_sequential(sample, rows); });
  if (table != expected) throw std::runtime_error("the tasks and the sequential run disagree");

  print_table(sample, table);
  const double million_rows = static_cast<double>(rows) / 1e6;
  std::printf("\nThe sequential run finds the same.\n");
  std::printf("tasks       %7.3f s   %6.1f million rows/s, unpacking, put and gather included\n", parallel_s,
              million_rows / parallel_s);
  std::printf("sequential  %7.3f s   %6.1f million rows/s\n", sequential_s, million_rows / sequential_s);
  std::printf("speed-up    %7.2f\n", sequential_s / parallel_s);
}

}  // namespace

int main(int argc, char** argv) {
  std::size_t rows = 240'000'000;
  std::filesystem::path path;
  try {
    for (int i = 1; i < argc; ++i) {
      const std::string option = argv[i];
      if (option == "--rows" && i + 1 < argc) {
        char* end = nullptr;
        rows = std::strtoull(argv[++i], &end, 10);
        if (*end != 0) rows = 0;
      } else if (option == "--sample" && i + 1 < argc) {
        path = argv[++i];
      } else {
        std::fprintf(stderr, "usage: flight_delays [--rows N] [--sample PATH]\n");
        return 2;
      }
    }
    if (rows == 0 || rows > 4'000'000'000) throw std::runtime_error("--rows takes a number from 1 to 4000000000");
    run(rows, path.empty() ? find_flight_sample() : path);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "flight_delays: %s\n", error.what());
    return 1;
  }
  return 0;
}

// Reads examples/data/flights.bin (its format: examples/data/README.md) as a table that is as long as one likes: after the last
// flight comes the first again. Standard library only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

inline constexpr int kHours = 24;

// The file as it is: columns that are still packed.
class FlightSample {
 public:
  explicit FlightSample(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    bytes_.assign(std::istreambuf_iterator<char>(file), {});
    if (!file)
      throw std::runtime_error("cannot read " + path.string() + "; give its path: flight_delays --sample PATH");
    const auto number = [&](std::size_t offset) {
      std::uint32_t value = 0;
      std::memcpy(&value, bytes_.data() + offset, sizeof value);
      return std::size_t{value};
    };
    constexpr std::size_t kHeaderBytes = 24;
    const bool has_header = bytes_.size() >= kHeaderBytes && std::memcmp(bytes_.data(), "RAYXFLT1", 8) == 0;
    if (!has_header) throw std::runtime_error(path.string() + " is not a flights sample");
    flights_ = number(8);
    airports_ = number(12);
    const std::size_t day_hours = number(20) * kHours;
    const std::size_t counts_at = kHeaderBytes + 3 * airports_;
    origins_at_ = counts_at + 2 * day_hours;
    delays_at_ = origins_at_ + flights_;
    if (flights_ == 0 || delays_at_ + flights_ > bytes_.size()) throw std::runtime_error(path.string() + " is cut off");
    flights_in_hour_.resize(day_hours);
    std::memcpy(flights_in_hour_.data(), bytes_.data() + counts_at, 2 * day_hours);
    check_columns(path.string());
  }

  std::size_t flights() const { return flights_; }
  std::size_t airports() const { return airports_; }
  std::size_t days() const { return flights_in_hour_.size() / kHours; }
  std::string code(std::size_t airport) const { return {bytes_.data() + 24 + 3 * airport, 3}; }

 private:
  friend class FlightReader;
  // A damaged file is found here, once, so that the reader need not look at each byte again.
  void check_columns(const std::string& path) const {
    std::size_t flights = 0;
    for (const std::uint16_t count : flights_in_hour_) flights += count;
    std::size_t delays = 0;
    for (std::size_t i = delays_at_; i < bytes_.size(); ++i) delays += (bytes_[i] & 0x80) == 0 ? 1 : 0;
    bool known = (bytes_.back() & 0x80) == 0;
    for (std::size_t i = origins_at_; i < delays_at_; ++i)
      known = known && static_cast<std::uint8_t>(bytes_[i]) < airports_;
    if (flights != flights_ || delays != flights_ || !known) throw std::runtime_error(path + " is damaged");
  }

  std::vector<char> bytes_;
  std::vector<std::uint16_t> flights_in_hour_;
  std::size_t flights_ = 0;
  std::size_t airports_ = 0;
  std::size_t origins_at_ = 0;
  std::size_t delays_at_ = 0;
};

// Unpacks the sample from its beginning, over and over.
class FlightReader {
 public:
  explicit FlightReader(const FlightSample& sample) : sample_(sample), delay_at_(sample.delays_at_) {}

  // The next flights, as many as the columns are long; all three have one length.
  void read(std::span<std::int16_t> delays, std::span<std::uint8_t> origins, std::span<std::uint8_t> hours) {
    std::size_t row = 0;
    while (row < delays.size()) {
      while (left_in_hour_ == 0) next_hour();
      const std::size_t end = row + std::min<std::size_t>(left_in_hour_, delays.size() - row);
      left_in_hour_ -= end - row;
      std::memset(hours.data() + row, hour_of_day_, end - row);
      std::memcpy(origins.data() + row, sample_.bytes_.data() + sample_.origins_at_ + flight_, end - row);
      flight_ += end - row;
      for (; row < end; ++row) delays[row] = next_delay();
    }
  }

 private:
  void next_hour() {
    if (hour_ == sample_.flights_in_hour_.size()) {  // all were read: again from the first
      hour_ = flight_ = 0;
      delay_at_ = sample_.delays_at_;
    }
    left_in_hour_ = sample_.flights_in_hour_[hour_];
    hour_of_day_ = static_cast<int>(hour_++ % kHours);
  }
  std::int16_t next_delay() {
    auto byte = static_cast<std::uint8_t>(sample_.bytes_[delay_at_++]);
    unsigned packed = byte & 0x7fU;
    for (unsigned shift = 7; (byte & 0x80) != 0; shift += 7) {
      byte = static_cast<std::uint8_t>(sample_.bytes_[delay_at_++]);
      packed |= (byte & 0x7fU) << shift;
    }
    return static_cast<std::int16_t>(static_cast<int>(packed >> 1) ^ -static_cast<int>(packed & 1));
  }

  const FlightSample& sample_;
  std::size_t delay_at_;
  std::size_t hour_ = 0;    // the next one, of all hours of all days
  std::size_t flight_ = 0;  // the next one
  std::size_t left_in_hour_ = 0;
  int hour_of_day_ = 0;
};

// examples/data/flights.bin in a directory above the program: finds it from any build directory of the checkout.
inline std::filesystem::path find_flight_sample() {
  const std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe");
  for (std::filesystem::path folder = program.parent_path(); folder != folder.root_path();
       folder = folder.parent_path()) {
    if (std::filesystem::exists(folder / "examples/data/flights.bin")) return folder / "examples/data/flights.bin";
  }
  return "examples/data/flights.bin";
}

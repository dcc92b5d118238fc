#include "kit/seed.hpp"

#include <charconv>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>

namespace rayx::kit {
namespace {

std::uint64_t require_seed(std::string_view text, const char* source) {
  if (std::optional<std::uint64_t> value = parse_seed(text)) return *value;
  std::fprintf(stderr, "rayx: %s is '%.*s', which is no seed; give a whole number from 0 to 18446744073709551615\n",
               source, static_cast<int>(text.size()), text.data());
  std::exit(2);
}

std::uint64_t seed_from_environment() {
  if (const char* text = std::getenv("RAYX_SEED"); text != nullptr && *text != '\0') {
    return require_seed(text, "RAYX_SEED");
  }
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

std::optional<std::uint64_t>& given_seed() {
  static std::optional<std::uint64_t> value;
  return value;
}

bool is_in_environment() {
  const char* const text = std::getenv("RAYX_SEED");
  return text != nullptr && *text != '\0';
}

}  // namespace

std::optional<std::uint64_t> parse_seed(std::string_view text) {
  int base = 10;
  if (text.starts_with("0x")) {
    base = 16;
    text.remove_prefix(2);
  }
  std::uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (text.empty() || error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

void init_seed(int* argc, char** argv) {
  constexpr std::string_view kFlag = "--seed";
  int kept = 1;
  for (int i = 1; i < *argc; ++i) {
    std::string_view argument = argv[i];
    if (argument.starts_with("--seed=")) {
      given_seed() = require_seed(argument.substr(kFlag.size() + 1), "--seed");
    } else if (argument == kFlag) {
      given_seed() = require_seed(i + 1 < *argc ? argv[++i] : "", "--seed");
    } else {
      argv[kept++] = argv[i];
    }
  }
  *argc = kept;
  argv[kept] = nullptr;
  (void)is_seed_given();  // before the environment has one in any case
  // Programs that a test starts draw the same numbers, so one seed replays all of it.
  ::setenv("RAYX_SEED", std::to_string(seed()).c_str(), 1);
}

bool is_seed_given() {
  static const bool is_given = given_seed().has_value() || is_in_environment();
  return is_given;
}

std::uint64_t seed() {
  static const std::uint64_t value = given_seed() ? *given_seed() : seed_from_environment();
  return value;
}

}  // namespace rayx::kit

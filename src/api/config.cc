#include "api/config.hpp"

#include <charconv>
#include <cstdlib>
#include <limits>
#include <string>
#include <string_view>

#include "api/active_cluster.hpp"

namespace rayx::detail {
namespace {

Error bad(const std::string& source, const std::string& value, const std::string& range) {
  return {ErrorCode::kInvalidConfig, "rayx: init: " + source + " is " + value + "; it must be " + range};
}

// A whole number with an optional power of 1024: "512M". Nothing if it is anything else.
std::optional<std::int64_t> parse_number(std::string_view text, bool with_suffix) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || text.empty()) return std::nullopt;
  std::string_view suffix(end, static_cast<std::size_t>(text.data() + text.size() - end));
  if (suffix.empty()) return number;
  if (!with_suffix || suffix.size() != 1) return std::nullopt;
  constexpr std::string_view kSuffixes = "KMGT";
  const std::size_t power = kSuffixes.find(static_cast<char>(suffix[0] & ~0x20));
  if (power == std::string_view::npos) return std::nullopt;
  const int shift = 10 * (static_cast<int>(power) + 1);
  if (number < 0 || number > std::numeric_limits<std::int64_t>::max() >> shift) return std::nullopt;
  return number << shift;
}

// One number from its field, its variable or the default; checked the same way wherever it came from.
struct Setting {
  const char* field;
  const char* variable;
  std::int64_t min;
  std::int64_t max;
  const char* unit = "";
  bool with_suffix = false;
};

Result<std::int64_t> resolve(const Setting& setting, std::optional<std::int64_t> given, std::int64_t fallback) {
  const std::string range = std::string("a whole number from ") + std::to_string(setting.min) + " to " +
                            std::to_string(setting.max) + setting.unit;
  if (given) {
    if (*given >= setting.min && *given <= setting.max) return *given;
    return bad(std::string("Config::") + setting.field, std::to_string(*given), range);
  }
  const char* const text = std::getenv(setting.variable);
  if (text == nullptr) return fallback;
  const auto number = parse_number(text, setting.with_suffix);
  if (number && *number >= setting.min && *number <= setting.max) return *number;
  return bad(std::string("the environment variable ") + setting.variable, std::string("\"") + text + "\"", range);
}

std::optional<std::int64_t> milliseconds(const std::optional<Duration>& duration) {
  if (!duration) return std::nullopt;
  return std::chrono::duration_cast<std::chrono::milliseconds>(*duration).count();
}

}  // namespace

Result<Config> resolve_config(const Config& config) {
  constexpr std::int64_t kMillisecondsMax = 1'000'000'000;
  constexpr std::uint64_t kStoreBytesMin = 1 << 20;
  Config resolved;
  std::optional<std::int64_t> local;
  if (config.local.has_value()) local = config.local.value() ? 1 : 0;
  const auto is_local = resolve({"local", "RAYX_LOCAL", 0, 1}, local, 0);
  if (!is_local) return is_local.error();
  resolved.local = *is_local == 1;

  const char* const address = std::getenv("RAYX_ADDRESS");
  resolved.address = config.address ? *config.address : std::string(address == nullptr ? "" : address);
  // The program's own cluster comes first: a variable that is set for other programs says nothing of it.
  if (const std::optional<ActiveCluster> active = active_cluster(); active && !config.address && !*resolved.local)
    resolved.address = active->address;
  if (!resolved.address->empty() && *resolved.local) {
    return Error{
        ErrorCode::kInvalidConfig,
        "rayx: init: both an address of a cluster (\"" + *resolved.address +
            "\", Config::address or RAYX_ADDRESS) and local mode (Config::local or RAYX_LOCAL) are set. Unset one"};
  }

  const auto cpus = resolve({"num_cpus", "RAYX_NUM_CPUS", 1, 1024}, config.num_cpus, usable_cpus());
  if (!cpus) return cpus.error();
  resolved.num_cpus = static_cast<int>(*cpus);

  const std::uint64_t memory = usable_memory_bytes();
  std::optional<std::int64_t> store;
  if (config.store_bytes) {
    store = static_cast<std::int64_t>(
        std::min<std::uint64_t>(*config.store_bytes, std::numeric_limits<std::int64_t>::max()));
  }
  const std::int64_t fallback = static_cast<std::int64_t>(std::max<std::uint64_t>(memory / 10 * 3, kStoreBytesMin));
  const auto store_bytes =
      resolve({"store_bytes", "RAYX_STORE_BYTES", static_cast<std::int64_t>(kStoreBytesMin),
               static_cast<std::int64_t>(memory), " bytes, the memory that this process may use", true},
              store, fallback);
  if (!store_bytes) return store_bytes.error();
  resolved.store_bytes = static_cast<std::uint64_t>(*store_bytes);

  const auto workers = resolve({"max_workers", "RAYX_MAX_WORKERS", 1, 64}, config.max_workers, 64);
  if (!workers) return workers.error();
  resolved.max_workers = static_cast<int>(*workers);

  const auto pending =
      resolve({"max_pending_tasks", "RAYX_MAX_PENDING_TASKS", 1, 100'000'000}, config.max_pending_tasks, 1'000'000);
  if (!pending) return pending.error();
  resolved.max_pending_tasks = static_cast<int>(*pending);

  if (config.submit_timeout == kForever) {
    resolved.submit_timeout = kForever;
  } else {
    const auto timeout = resolve({"submit_timeout", "RAYX_SUBMIT_TIMEOUT_MS", 0, kMillisecondsMax, " milliseconds"},
                                 milliseconds(config.submit_timeout), 60'000);
    if (!timeout) return timeout.error();
    resolved.submit_timeout = std::chrono::milliseconds(*timeout);
  }
  if (config.store_timeout == kForever) {
    resolved.store_timeout = kForever;
  } else {
    const auto timeout = resolve({"store_timeout", "RAYX_STORE_TIMEOUT_MS", 0, kMillisecondsMax, " milliseconds"},
                                 milliseconds(config.store_timeout), 10'000);
    if (!timeout) return timeout.error();
    resolved.store_timeout = std::chrono::milliseconds(*timeout);
  }
  return resolved;
}

}  // namespace rayx::detail

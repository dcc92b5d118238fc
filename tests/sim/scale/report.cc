#include "report.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>
#include <string_view>
#include <utility>

namespace rayx::sim {
namespace {

constexpr double kNsOfSecond = 1e9;
constexpr double kNsOfMillisecond = 1e6;

std::string with_commas(const std::string& digits) {
  std::string text;
  for (std::size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ',';
    text += digits[i];
  }
  return text;
}
std::string count(std::uint64_t value) { return with_commas(std::to_string(value)); }
// Three digits that count.
std::string number(double value) {
  char text[64];
  const double size = std::fabs(value);
  std::snprintf(text, sizeof text,
                size >= 100 || size == 0 ? "%.0f"
                : size >= 10             ? "%.1f"
                : size >= 1              ? "%.2f"
                                         : "%.3f",
                value);
  return size >= 1'000 ? with_commas(text) : text;
}
std::string seconds(TimeNs time) {
  return time == base::kNever ? "not within 300" : number(static_cast<double>(time) / kNsOfSecond);
}
std::string milliseconds(TimeNs time) { return number(static_cast<double>(time) / kNsOfMillisecond); }
std::string megabytes(std::uint64_t bytes) { return number(static_cast<double>(bytes) / 1e6); }
std::string text(const Delays& delays) {
  return milliseconds(delays.p50_ns) + " / " + milliseconds(delays.p99_ns) + " / " + milliseconds(delays.max_ns);
}

using Cell = std::function<std::string(const Report&)>;
class Table {
 public:
  Table(const char* title, const std::vector<Report>& reports) : reports_(reports) {
    row(title, [](const Report& it) { return count(static_cast<std::uint64_t>(it.plan.nodes)).append(" nodes"); });
    text_ += "| --- |";
    for (std::size_t i = 0; i < reports.size(); ++i) text_ += " --: |";
    text_ += '\n';
  }
  void row(std::string_view name, const Cell& cell) {
    text_.append("| ").append(name).append(" |");
    for (const Report& report : reports_) text_.append(" ").append(cell(report)).append(" |");
    text_ += '\n';
  }
  std::string take() { return std::move(text_) + '\n'; }

 private:
  const std::vector<Report>& reports_;
  std::string text_;
};

// In the order of the variants.
constexpr const char* kOutKinds[] = {"Joined",   "Refused",    "HeartbeatSeen", "View",       "JobEnded",  "PlaceActor",
                                     "EndActor", "ActorState", "Drain",         "Subscribed", "Published", "Answer"};
constexpr const char* kInKinds[] = {"Join", "Heartbeat", "Watch", "Subscribe", "PublishedSeen", "Request"};
static_assert(std::size(kOutKinds) == std::variant_size_v<registry::ToMember>);
static_assert(std::size(kInKinds) == std::variant_size_v<registry::ToHead>);

double steady_seconds(const Report& report) { return static_cast<double>(report.steady_ns) / kNsOfSecond; }
std::string a_second(const Report& report, std::uint64_t sum) {
  return number(static_cast<double>(sum) / steady_seconds(report));
}
std::string kilobytes_a_second(const Report& report, std::uint64_t bytes) {
  return number(static_cast<double>(bytes) / 1e3 / steady_seconds(report));
}
std::string percent(const Report& report, TimeNs busy) {
  return number(100 * static_cast<double>(busy) / static_cast<double>(report.steady_ns));
}

std::string steady_table(const std::vector<Report>& reports) {
  Table table("a steady load", reports);
  table.row("drivers; actors alive", [](const Report& it) {
    return count(static_cast<std::uint64_t>(it.plan.drivers())) + "; " + count(it.actors_alive);
  });
  table.row("messages a second to the head",
            [](const Report& it) { return a_second(it, it.steady.all_in().messages); });
  table.row("messages a second from it", [](const Report& it) { return a_second(it, it.steady.all_out().messages); });
  table.row("kB a second to it", [](const Report& it) { return kilobytes_a_second(it, it.steady.all_in().bytes); });
  table.row("kB a second from it", [](const Report& it) { return kilobytes_a_second(it, it.steady.all_out().bytes); });
  table.row("nodes named in views, a second", [](const Report& it) { return a_second(it, it.steady.views_named); });
  table.row("**CPU of the head, % of one core**", [](const Report& it) { return percent(it, it.steady.busy_ns()); });
  table.row("of it deciding; making and reading bytes", [](const Report& it) {
    return percent(it, it.steady.deciding_ns) + "; " + percent(it, it.steady.coding_ns);
  });
  table.row("longest wait for the head; for its link, ms", [](const Report& it) {
    return milliseconds(it.steady.waited_ns_max) + "; " + milliseconds(it.steady.queued_ns_max);
  });
  table.row("**create to handed out**, ms: p50 / p99 / max", [](const Report& it) { return text(it.handed_out); });
  table.row("**create to alive**, ms: p50 / p99 / max", [](const Report& it) { return text(it.alive); });
  table.row("commits of the disk a second; kB a second", [](const Report& it) {
    return a_second(it, it.steady.commits) + "; " + kilobytes_a_second(it, it.steady.written_bytes);
  });
  return table.take();
}

std::string mass_table(const std::vector<Report>& reports) {
  Table table("all at once", reports);
  const auto costs = [&](MassEvent Report::*event) {
    table.row("– CPU of the head, s; MB from it", [event](const Report& it) {
      const Traffic& traffic = (it.*event).traffic;
      return number(static_cast<double>(traffic.busy_ns()) / kNsOfSecond) + "; " + megabytes(traffic.all_out().bytes);
    });
    table.row("– longest wait for the head; for its link, ms", [event](const Report& it) {
      const Traffic& traffic = (it.*event).traffic;
      return milliseconds(traffic.waited_ns_max) + "; " + milliseconds(traffic.queued_ns_max);
    });
  };
  table.row("**all nodes join at once**: until each is a member and knows all, s",
            [](const Report& it) { return seconds(it.join.time_ns); });
  costs(&Report::join);
  table.row("**two actors for each node at once**: until the last one is alive, s",
            [](const Report& it) { return seconds(it.actors.time_ns); });
  costs(&Report::actors);
  table.row("**a rack loses its power** (nodes; actors there)", [](const Report& it) {
    return count(static_cast<std::uint64_t>(it.plan.rack())) + "; " + count(it.rack_actors);
  });
  table.row("– until all others know, s", [](const Report& it) { return seconds(it.rack.time_ns); });
  table.row("– until its actors are alive elsewhere, s", [](const Report& it) { return seconds(it.rack_actors_ns); });
  table.row("**the head is killed, and started 1 s later**: CPU to read its records, ms",
            [](const Report& it) { return milliseconds(it.restore_ns); });
  table.row("– until all are members again, s", [](const Report& it) { return seconds(it.restart.time_ns); });
  table.row("– until actors asked for meanwhile are alive, s (how many)",
            [](const Report& it) { return seconds(it.restart_actors_ns) + " (" + count(it.restart_actors) + ")"; });
  costs(&Report::restart);
  return table.take();
}

std::string memory_table(const std::vector<Report>& reports) {
  Table table("what the head holds", reports);
  table.row("memory, MB", [](const Report& it) { return megabytes(it.head_bytes); });
  table.row("of that for each node, kB", [](const Report& it) {
    return number(static_cast<double>(it.head_bytes) / 1e3 / static_cast<double>(it.plan.nodes));
  });
  table.row("durable records; MB",
            [](const Report& it) { return count(it.durable_pairs) + "; " + megabytes(it.durable_bytes); });
  return table.take();
}

// Those kinds that make more than a hundredth of the bytes in the largest cluster.
std::string kinds_table(const std::vector<Report>& reports) {
  Table table("kB a second by kind of message", reports);
  const Report& largest = reports.back();
  const auto counts = [](const Traffic::Sum& part, const Traffic::Sum& all) { return 100 * part.bytes > all.bytes; };
  for (std::size_t kind = 0; kind < std::size(kInKinds); ++kind)
    if (counts(largest.steady.in[kind], largest.steady.all_in()))
      table.row(std::string("to the head: ").append(kInKinds[kind]),
                [kind](const Report& it) { return kilobytes_a_second(it, it.steady.in[kind].bytes); });
  for (std::size_t kind = 0; kind < std::size(kOutKinds); ++kind)
    if (counts(largest.steady.out[kind], largest.steady.all_out()))
      table.row(std::string("from it: ").append(kOutKinds[kind]),
                [kind](const Report& it) { return kilobytes_a_second(it, it.steady.out[kind].bytes); });
  return table.take();
}

}  // namespace

Traffic::Sum Traffic::all_in() const {
  Sum sum;
  for (const Sum& kind : in) sum += kind;
  return sum;
}
Traffic::Sum Traffic::all_out() const {
  Sum sum;
  for (const Sum& kind : out) sum += kind;
  return sum;
}

Traffic Traffic::since(const Traffic& before) const {
  Traffic change = *this;  // and the longest wait, which is no sum
  for (std::size_t kind = 0; kind < in.size(); ++kind) change.in[kind] -= before.in[kind];
  for (std::size_t kind = 0; kind < out.size(); ++kind) change.out[kind] -= before.out[kind];
  change.views_named -= before.views_named;
  change.calls -= before.calls;
  change.deciding_ns -= before.deciding_ns;
  change.coding_ns -= before.coding_ns;
  change.commits -= before.commits;
  change.written_bytes -= before.written_bytes;
  return change;
}

Delays delays_of(std::vector<TimeNs> all) {
  if (all.empty()) return {};
  std::sort(all.begin(), all.end());
  const auto at = [&](std::size_t permille) { return all[(all.size() - 1) * permille / 1'000]; };
  return {all.size(), at(500), at(990), all.back()};
}

std::string tables(const std::vector<Report>& reports) {
  return steady_table(reports) + mass_table(reports) + memory_table(reports) + kinds_table(reports);
}

}  // namespace rayx::sim

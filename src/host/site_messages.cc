#include "host/site_messages.hpp"

#include <cstring>

#include "relay/frames.hpp"

namespace rayx::host {
namespace {

enum class Kind : std::uint64_t { kOpen = 1, kNeed, kOpened, kFailed };

struct Writer {
  std::vector<std::byte> bytes;
  void number(std::uint64_t value) {
    const auto* const from = reinterpret_cast<const std::byte*>(&value);
    bytes.insert(bytes.end(), from, from + sizeof(value));
  }
  void run(const void* data, std::size_t size) {
    number(size);
    const auto* const from = static_cast<const std::byte*>(data);
    bytes.insert(bytes.end(), from, from + size);
    bytes.resize(relay::padded(bytes.size()));
  }
};

struct Write {
  Writer& out;
  void operator()(const OpenSite& open) const {
    out.number(static_cast<std::uint64_t>(Kind::kOpen));
    out.number(open.node.value);
    out.number(open.driver.value);
    out.number(open.job.value);
    out.number(open.submit_timeout_ns);
    out.number(open.pending_max);
    out.run(open.name.data(), open.name.size());
    out.run(open.modules.data(), open.modules.size());
    out.run(open.manifest.data(), open.manifest.size());
  }
  void operator()(const NeedFiles& need) const {
    out.number(static_cast<std::uint64_t>(Kind::kNeed));
    out.run(need.files.data(), need.files.size() * sizeof(need.files[0]));
  }
  void operator()(const Opened&) const { out.number(static_cast<std::uint64_t>(Kind::kOpened)); }
  void operator()(const Failed& failed) const {
    out.number(static_cast<std::uint64_t>(Kind::kFailed));
    out.run(failed.why.data(), failed.why.size());
  }
};

bool take_run(relay::FrameReader& reader, std::span<const std::byte>& run) {
  std::uint64_t size = 0;
  return reader.take(size) && reader.take_bytes(size, run);
}
bool take_text(relay::FrameReader& reader, std::string& text) {
  std::span<const std::byte> run;
  if (!take_run(reader, run)) return false;
  text.assign(reinterpret_cast<const char*>(run.data()), run.size());
  return true;
}

bool read(relay::FrameReader& reader, SiteMessage& message) {
  Kind kind{};
  std::span<const std::byte> run;
  if (!reader.take(kind)) return false;
  switch (kind) {
    case Kind::kOpen: {
      OpenSite open;
      std::uint64_t job = 0;
      if (!reader.take(open.node.value) || !reader.take(open.driver.value) || !reader.take(job) ||
          !reader.take(open.submit_timeout_ns) || !reader.take(open.pending_max) || !take_text(reader, open.name) ||
          !take_text(reader, open.modules) || !take_run(reader, run))
        return false;
      if (job == 0 || job > UINT32_MAX) return reader.fail("the job has no number");
      open.job = {static_cast<std::uint32_t>(job)};
      open.manifest.assign(run.begin(), run.end());
      message = std::move(open);
      return true;
    }
    case Kind::kNeed: {
      NeedFiles need;
      if (!take_run(reader, run)) return false;
      if (run.size() % sizeof(need.files[0]) != 0) return reader.fail("its list of files is cut");
      need.files.resize(run.size() / sizeof(need.files[0]));
      if (!run.empty()) std::memcpy(need.files.data(), run.data(), run.size());
      message = std::move(need);
      return true;
    }
    case Kind::kOpened: message = Opened{}; return true;
    case Kind::kFailed: {
      Failed failed;
      if (!take_text(reader, failed.why)) return false;
      message = std::move(failed);
      return true;
    }
  }
  return reader.fail("its kind is unknown");
}

}  // namespace

std::vector<std::byte> encode(const SiteMessage& message) {
  Writer writer;
  std::visit(Write{writer}, message);
  return std::move(writer.bytes);
}

Result<SiteMessage> decode_site_message(std::span<const std::byte> bytes) {
  relay::FrameReader reader(bytes);
  SiteMessage message;
  if (read(reader, message) && reader.is_at_end()) return message;
  return Error{
      ErrorCode::kMalformed,
      "rayx: a message about a job's site has " + std::to_string(bytes.size()) + " bytes that cannot be read: " +
          (reader.problem().empty() ? std::string("something follows its end") : std::string(reader.problem()))};
}

std::string text_for_head(const OpenSite& open) {
  const std::vector<std::byte> bytes = encode(open);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

Result<OpenSite> read_text_of_head(const std::string& text) {
  Result<SiteMessage> message = decode_site_message(std::as_bytes(std::span(text)));
  if (!message) return std::move(message).error();
  if (auto* const open = std::get_if<OpenSite>(&*message)) return std::move(*open);
  return Error{ErrorCode::kMalformed, "rayx: what the head says of a detached actor's program is something else"};
}

}  // namespace rayx::host

// libFuzzer: any bytes as what one site of a job says to another: before tasks cross, and the relays' frames. A frame that is refused
// has no effect, one that is not is read within its bounds, and a message that decodes says the same when it is encoded again.
//   meson compile -C <dir> sites_fuzz && <dir>/tests/fuzz/sites_fuzz -max_len=4096 -max_total_time=60
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "host/site_messages.hpp"
#include "relay/frames.hpp"

namespace {

using namespace rayx;

[[noreturn]] void stop(const char* what) {
  std::fprintf(stderr, "sites_fuzz: %s\n", what);
  std::abort();
}

// Reads every byte that it is given, as a relay would.
class Reader final : public relay::FrameHandler {
 public:
  void on_task(const relay::TaskHead&, const relay::WireValue& arguments, Parts parts) override {
    read(arguments, parts);
  }
  void on_call(const relay::CallHead&, const relay::WireValue& arguments, Parts parts) override {
    read(arguments, parts);
  }
  void on_creation(const relay::CreationHead&, const relay::WireValue& arguments, Parts parts) override {
    read(arguments, parts);
  }
  void on_result(const relay::ResultHead&, const relay::WireValue& value) override { read(value); }
  void on_lost(const relay::ResultHead&, std::span<const std::byte> error) override { read(error); }
  void on_fetched(const relay::FetchedHead&, const relay::WireValue& value) override { read(value); }
  void on_copied(const relay::CopiedHead&, const relay::WireValue& value) override { read(value); }
  void on_offer(const relay::OfferHead& head, std::span<const relay::ValueHead> values) override {
    if (values.size() != head.values) stop("an offer has other values than it says");
    ++effects;
  }
  void on_capacity(const relay::CapacityHead&) override { ++effects; }
  void on_modules(std::span<const std::byte> text) override { read(text); }
  void on_returned(const relay::ReturnHead&) override { ++effects; }
  void on_recall(const relay::RecallHead&) override { ++effects; }
  std::size_t effects = 0;
  std::uint64_t sum = 0;

 private:
  void read(std::span<const std::byte> bytes) {
    ++effects;
    for (const std::byte byte : bytes) sum += static_cast<std::uint64_t>(byte);
  }
  void read(const relay::WireValue& value) {
    read(value.here);
    std::uint64_t end = 0;
    for (std::size_t i = 0; i < value.names.size(); ++i) {
      const relay::NameEntry name = value.names.at(i);
      if (name.position < end || name.position + relay::kNameBytes > value.bytes)
        stop("a name stands outside its value");
      end = name.position + relay::kNameBytes;
    }
  }
  void read(const relay::WireValue& arguments, Parts parts) {
    read(arguments);
    for (const Part& part : parts) read(part.value);
  }
};

void try_frame(std::span<const std::byte> bytes) {
  Reader reader;
  const std::string problem = relay::read_frame(bytes, reader);
  if (!problem.empty() && reader.effects != 0) stop("a damaged frame had an effect");
  std::vector<relay::NameEntry> handles;
  if (relay::check_frame(bytes, &handles).empty() != problem.empty()) stop("a frame is checked in two ways");
}

void try_message(std::span<const std::byte> bytes) {
  const auto message = host::decode_site_message(bytes);
  if (!message) return;
  const std::vector<std::byte> once = host::encode(*message);
  const auto again = host::decode_site_message(once);
  if (!again || host::encode(*again) != once) stop("a message says something else when it is encoded again");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::vector<std::byte> bytes(reinterpret_cast<const std::byte*>(data) + 1,
                                     reinterpret_cast<const std::byte*>(data) + size);  // aligned, as on a link
  data[0] % 4 == 0 ? try_message(bytes) : try_frame(bytes);
  return 0;
}

// Sites of other programs: a link to one carries calls, values and references, and functions have other numbers there.
#include <algorithm>
#include <string>

#include "relay/relay.hpp"

namespace rayx::relay {

void Relay::say_modules(Peer& peer) {
  const std::string text = numbers().encode();
  FrameWriter writer;
  writer.add(FrameKind::kModules, ModulesHead{text.size()});
  writer.put_bytes(std::as_bytes(std::span(text)));
  peer.link->send(writer.finish());
}

// What is the same module in both, by its build, has the same functions at the same places.
void Relay::on_modules(Peer& peer, std::span<const std::byte> text) {
  const Result<worker::FunctionNumbers> theirs =
      worker::FunctionNumbers::decode({reinterpret_cast<const char*>(text.data()), text.size()}, {});
  peer.modules.clear();
  if (!theirs) return;  // none of its functions is known here
  const std::span<const worker::Module> mine = numbers().modules();
  for (const worker::Module& module : theirs->modules()) {
    const auto same = std::find_if(mine.begin(), mine.end(),
                                   [&](const worker::Module& it) { return it.identity == module.identity; });
    peer.modules.push_back(same == mine.end() ? 0 : static_cast<std::uint32_t>(same - mine.begin()) + 1);
  }
}

worker::FunctionNumber Relay::translate(const Peer& peer, worker::FunctionNumber number) {
  if (!peer.is_foreign()) return number;
  const std::uint64_t module = number >> worker::kModuleOffsetBits;
  if (module >= peer.modules.size() || peer.modules[module] == 0) return 0;
  constexpr worker::FunctionNumber kOffset = (worker::FunctionNumber{1} << worker::kModuleOffsetBits) - 1;
  return std::uint64_t{peer.modules[module] - 1} << worker::kModuleOffsetBits | (number & kOffset);
}

}  // namespace rayx::relay

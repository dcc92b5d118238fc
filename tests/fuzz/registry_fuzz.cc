// libFuzzer: any bytes as a message between the head and its members. One that decodes is encoded again, and must come back as the very
// bytes.
//   meson compile -C <dir> registry_fuzz && <dir>/tests/fuzz/registry_fuzz -max_len=4096 -max_total_time=60
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "registry/message_codec.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(bytes) + 1, size - 1);
  std::string again(rest);
  if (bytes[0] % 2 == 0) {
    if (const auto message = rayx::registry::decode_to_head(rest)) again = rayx::registry::encode(*message);
  } else {
    if (const auto message = rayx::registry::decode_to_member(rest)) again = rayx::registry::encode(*message);
  }
  if (again == rest) return 0;
  std::fputs("registry_fuzz: one message has two forms\n", stderr);
  std::abort();
}

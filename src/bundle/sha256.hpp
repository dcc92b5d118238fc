// SHA-256 (FIPS 180-4), with the CPU's own instructions where it has them. Own code because TLS libraries are `wire`'s alone.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace rayx::bundle {

using Digest = std::array<std::uint8_t, 32>;

std::string to_hex(const Digest& digest);
std::optional<Digest> digest_of_hex(std::string_view hex);  // 64 lower-case digits and nothing else

class Sha256 {
 public:
  // kPlain is for tests: what a CPU without SHA instructions does.
  enum class Way { kFastest, kPlain };

  explicit Sha256(Way way = Way::kFastest) noexcept;
  void add(std::span<const std::byte> bytes) noexcept;
  // Of all bytes that were added; the object starts anew.
  Digest finish() noexcept;

  static bool has_instructions() noexcept;

 private:
  using Compress = void (*)(std::uint32_t* state, const std::uint8_t* blocks, std::size_t count) noexcept;

  void start() noexcept;

  Compress compress_;
  std::array<std::uint32_t, 8> state_{};
  std::array<std::uint8_t, 64> block_{};
  std::uint64_t bytes_ = 0;  // added so far; those of the last, incomplete block lie in block_
};

Digest sha256(std::span<const std::byte> bytes) noexcept;

}  // namespace rayx::bundle

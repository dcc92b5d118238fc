// libFuzzer: any bytes, decoded as one of several types. What decodes is encoded again, and must come back as itself.
//   meson compile -C <dir> codec_fuzz && <dir>/tests/fuzz/codec_fuzz -max_len=4096 -max_total_time=60
#include <bitset>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <forward_list>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <rayx/codec.hpp>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

namespace {

using rayx::codec::Decoder;
using rayx::codec::Encoder;
using rayx::codec::SizeContext;

struct Flags {
  bool a;
  std::uint8_t b;
  std::bitset<13> c;
};
struct Tree {
  std::int32_t id = 0;
  std::string name;
  std::vector<Tree> children;
  std::unique_ptr<Tree> next;
  std::variant<std::monostate, bool, std::string, std::vector<Flags>> what;
};
struct Many {
  std::map<std::string, std::vector<bool>> bits;
  std::unordered_map<int, std::list<std::optional<std::u16string>>> hashed;
  std::set<std::pair<std::int16_t, bool>> set;
  std::forward_list<std::tuple<>> nothing;
  std::deque<std::array<std::string, 2>> pairs;
  std::filesystem::path path;
  long double wide = 0;
};
class Checked {
 public:
  template <class Archive>
  friend void rayx_serialize(Archive& archive, Checked& checked) {
    archive(checked.values_, checked.inner_);
    if (checked.values_.size() > 100) archive.fail("too many");
  }

 private:
  std::vector<std::string> values_;
  std::shared_ptr<Checked> inner_;
};
struct alignas(32) Wide {
  float v[8];
};

[[noreturn]] void stop(const char* what) {
  std::fprintf(stderr, "codec_fuzz: %s\n", what);
  std::abort();
}

template <class T>
std::vector<std::byte> encode_alone(const T& value) {
  SizeContext measure;
  rayx::codec::encoded_size(value, measure);
  if (measure.failed()) stop("what was decoded cannot be encoded");
  std::vector<std::byte> bytes(measure.size());
  Encoder encoder(bytes.data(), bytes.size());
  rayx::codec::encode(value, encoder);
  if (encoder.written() != bytes.size()) stop("the two passes disagree");
  return bytes;
}

// Sizes are compared, not values: a NaN differs from itself. Not where an unordered container is inside, whose new order changes
// the padding.
template <class T, bool kIsOrdered = true>
void try_type(const std::byte* data, std::size_t size) {
  Decoder decoder(data, size);
  const rayx::Result<T> value = rayx::codec::decode<T>(decoder);
  if (!value) return;
  const std::vector<std::byte> first = encode_alone(*value);
  Decoder again(first.data(), first.size());
  const rayx::Result<T> back = rayx::codec::decode<T>(again);
  if (!back) stop("what was encoded cannot be decoded");
  if (kIsOrdered && encode_alone(*back).size() != first.size()) stop("the size changed");
}

template <class P>
void try_parameter(const std::byte* data, std::size_t size) {
  Decoder decoder(data, size);
  auto parameter = rayx::codec::decode_parameter<P>(decoder);
  if (decoder.failed()) return;
  std::uint64_t sum = 0;
  const auto view = parameter.get();
  for (const std::byte byte : std::as_bytes(std::span(view.data(), view.size())))
    sum += std::to_integer<unsigned>(byte);
  if (sum > 255 * size) stop("a view shows bytes that are not there");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  if (size == 0) return 0;
  const auto* const data = reinterpret_cast<const std::byte*>(bytes) + 1;
  switch (bytes[0] % 10) {
    case 0: try_type<Tree>(data, size - 1); break;
    case 1: try_type<Many, false>(data, size - 1); break;
    case 2: try_type<Checked>(data, size - 1); break;
    case 3: try_type<std::vector<Tree>>(data, size - 1); break;
    case 4: try_type<std::vector<Flags>>(data, size - 1); break;
    case 5: try_type<std::tuple<std::vector<Wide>, std::string, std::vector<std::int64_t>>>(data, size - 1); break;
    case 6: try_parameter<std::span<const Wide>>(data, size - 1); break;
    case 7: try_parameter<std::string_view>(data, size - 1); break;
    case 8: try_parameter<std::span<const bool>>(data, size - 1); break;
    default: try_parameter<std::span<const double, 5>>(data, size - 1); break;
  }
  return 0;
}

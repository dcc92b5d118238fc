#include "spark/launch_description.hpp"

#include <openssl/evp.h>

#include <memory>

#include "base/check.hpp"
#include "wire/crypto.hpp"

namespace rayx::spark {
namespace {

class Words {
 public:
  void put(std::uint64_t value, int bytes) {
    for (int i = bytes - 1; i >= 0; --i) text_ += static_cast<char>(value >> 8 * i & 0xff);
  }
  void put(std::string_view text) {
    put(text.size(), 4);
    text_ += text;
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

}  // namespace

Result<std::vector<FileFixes>> fixes_of(const bundle::RunningProgram& program) {
  std::vector<FileFixes> all(program.manifest.files.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const bundle::File& file = program.manifest.files[i];
    if (file.role == bundle::Role::kHost) continue;
    const Result<base::UniqueFd> fd = program.open(i);
    if (!fd) return fd.error();
    const Result<bundle::ElfFile> elf = bundle::read_elf(fd->get(), file.path);
    if (!elf) return elf.error();
    all[i] = {elf->search_fixes, elf->interpreter_header};
  }
  return all;
}

std::string describe(const bundle::Manifest& manifest, std::span<const FileFixes> fixes, const NodeLaunch& launch) {
  Words words;
  words.put("rayx launch 1");
  words.put(launch.arguments.size(), 4);
  for (const std::string& argument : launch.arguments) words.put(argument);
  words.put(launch.environment.size(), 4);
  for (const auto& [name, value] : launch.environment) {
    words.put(name);
    words.put(value);
  }
  words.put(launch.input);
  words.put(static_cast<std::uint64_t>(launch.cores), 4);
  words.put(static_cast<std::uint64_t>(launch.memory_mib), 8);
  words.put(static_cast<std::uint64_t>(launch.gpus), 4);
  words.put(manifest.interpreter);
  words.put(manifest.libc_version);
  words.put(manifest.kernel_min);
  words.put(manifest.needs.size(), 4);
  for (const bundle::VersionNeed& need : manifest.needs) {
    words.put(need.library);
    words.put(need.version);
  }
  words.put(manifest.files.size(), 4);
  for (std::size_t i = 0; i < manifest.files.size(); ++i) {
    const bundle::File& file = manifest.files[i];
    words.put(static_cast<std::uint64_t>(file.role), 1);
    words.put(file.path);
    words.put(file.names.size(), 4);
    for (const std::string& name : file.names) words.put(name);
    words.put(file.bytes, 8);
    words.put(bundle::to_hex(file.digest));
    words.put(fixes[i].interpreter_header, 8);
    words.put(fixes[i].words.size(), 4);
    for (const bundle::ElfFile::Word& word : fixes[i].words) {
      words.put(word.offset, 8);
      words.put(word.value, 8);
    }
  }
  return words.take();
}

std::string seal(std::string_view text, std::span<const std::byte> key) {
  constexpr int kNonceBytes = 12;
  constexpr int kTagBytes = 16;
  RAYX_CHECK(key.size() == 32, "AES-256 has a key of 32 bytes", key.size());
  std::string out(kNonceBytes + text.size() + kTagBytes, '\0');
  auto* const bytes = reinterpret_cast<unsigned char*>(out.data());
  wire::fill_random(std::as_writable_bytes(std::span(out)).first(kNonceBytes));
  const std::unique_ptr<EVP_CIPHER_CTX, decltype(&::EVP_CIPHER_CTX_free)> context(::EVP_CIPHER_CTX_new(),
                                                                                  &::EVP_CIPHER_CTX_free);
  int written = 0;
  int rest = 0;
  const bool is_done =
      context != nullptr &&
      ::EVP_EncryptInit_ex(context.get(), ::EVP_aes_256_gcm(), nullptr,
                           reinterpret_cast<const unsigned char*>(key.data()), bytes) == 1 &&
      ::EVP_EncryptUpdate(context.get(), bytes + kNonceBytes, &written,
                          reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size())) == 1 &&
      ::EVP_EncryptFinal_ex(context.get(), bytes + kNonceBytes + written, &rest) == 1 &&
      ::EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, bytes + kNonceBytes + text.size()) == 1;
  RAYX_CHECK(is_done, "OpenSSL could not encrypt", text.size());
  return out;
}

}  // namespace rayx::spark

#include <dlfcn.h>
#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "bundle/manifest.hpp"
#include "bundle/running_program.hpp"
#include "kit/seed.hpp"

namespace rayx::bundle {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;

Manifest small() {
  Manifest manifest;
  manifest.machine = EM_X86_64;
  manifest.interpreter = "/lib64/ld-linux-x86-64.so.2";
  manifest.libc_version = "2.36";
  manifest.kernel_min = "3.2.0";
  manifest.needs = {{"libc.so.6", "GLIBC_2.2.5"}, {"libc.so.6", "GLIBC_2.34"}, {"libm.so.6", "GLIBC_2.29"}};
  manifest.files = {{Role::kLoader, "/lib64/ld-linux-x86-64.so.2", {"ld-linux-x86-64.so.2"}, "ab", 10, sha256({})},
                    {Role::kExecutable, "/opt/job/fit", {}, "0123456789abcdef", 1'000, sha256({})},
                    {Role::kLibrary, "/opt/job/libfit.so.1", {"fit.soname.1", "libfit.so.1"}, "", 2'000, sha256({})}};
  return manifest;
}

std::string refusal_of(const Manifest& broken, const Manifest& valid = small()) {
  // encode() refuses to write such a thing: change the bytes of a valid one of the same shape.
  std::vector<std::byte> bytes = encode(valid);
  const auto replace = [&](const std::string& from, const std::string& to) {
    EXPECT_EQ(from.size(), to.size());
    const auto at = std::search(bytes.begin(), bytes.end(), reinterpret_cast<const std::byte*>(from.data()),
                                reinterpret_cast<const std::byte*>(from.data() + from.size()));
    EXPECT_NE(at, bytes.end());
    std::transform(to.begin(), to.end(), at, [](char c) { return static_cast<std::byte>(c); });
  };
  for (std::size_t i = 0; i < valid.files.size(); ++i) {
    if (valid.files[i].path != broken.files[i].path) replace(valid.files[i].path, broken.files[i].path);
    for (std::size_t n = 0; n < valid.files[i].names.size(); ++n)
      if (valid.files[i].names[n] != broken.files[i].names[n])
        replace(valid.files[i].names[n], broken.files[i].names[n]);
  }
  const Result<Manifest> decoded = decode_manifest(bytes);
  return decoded ? "" : decoded.error().message;
}

TEST(Manifest, ComesBackAsItWas) {
  const Result<Manifest> back = decode_manifest(encode(small()));
  ASSERT_TRUE(back) << back.error().message;
  EXPECT_EQ(*back, small());
  EXPECT_EQ(hash_of(*back), hash_of(small()));
}

TEST(Manifest, AnotherContentIsAnotherBundle) {
  Manifest other = small();
  other.files[2].digest[31] ^= 1;
  EXPECT_NE(hash_of(other), hash_of(small()));
}

TEST(Manifest, OfAFutureVersionIsRefusedWithBothVersions) {
  std::vector<std::byte> bytes = encode(small());
  bytes[8] = std::byte{2};
  bytes.resize(100);  // and who knows how it goes on
  const Result<Manifest> decoded = decode_manifest(bytes);
  ASSERT_FALSE(decoded);
  EXPECT_EQ(decoded.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(decoded.error().message, HasSubstr("has version 2, and rayx here reads version 1"));
}

TEST(Manifest, CutShortAnywhereIsAnError) {
  const std::vector<std::byte> bytes = encode(small());
  for (std::size_t size = 0; size < bytes.size(); ++size)
    EXPECT_FALSE(decode_manifest(std::span(bytes).first(size))) << size;
}

TEST(Manifest, WithAnyByteChangedIsAnErrorOrObeysTheRules) {
  std::mt19937_64 random(kit::seed());
  const std::vector<std::byte> bytes = encode(small());
  for (int round = 0; round < 20'000; ++round) {
    std::vector<std::byte> changed = bytes;
    changed[random() % changed.size()] = static_cast<std::byte>(random());
    const Result<Manifest> decoded = decode_manifest(changed);
    EXPECT_TRUE(!decoded || encode(*decoded) == changed);
  }
}

TEST(Manifest, CannotLeadOutOfItsFolder) {
  Manifest broken = small();
  broken.files[2].path = "/opt/job/../../../..";
  EXPECT_THAT(refusal_of(broken), HasSubstr("no clean path"));
  broken = small();
  broken.files[2].path = "/opt/job//ibfit.so.1";
  EXPECT_THAT(refusal_of(broken), HasSubstr("no clean path"));
  broken = small();
  broken.files[2].names[0] = "../soname.12";
  EXPECT_THAT(refusal_of(broken), HasSubstr("no clean name"));
}

TEST(RunningProgram, HasAllThatIsLoadedWithItsRole) {
  FileDigests digests;
  const Result<RunningProgram> program = describe_running_program(digests);
  ASSERT_TRUE(program) << program.error().message;
  const Manifest& manifest = program->manifest;
  EXPECT_EQ(manifest.machine, EM_X86_64);
  EXPECT_THAT(manifest.executable().path, HasSubstr("manifest_test"));
  EXPECT_EQ(manifest.interpreter, "/lib64/ld-linux-x86-64.so.2");
  EXPECT_GE(glibc_version(manifest.libc_version), std::pair(2, 34));
  EXPECT_THAT(manifest.needs, Contains(VersionNeed{"libc.so.6", "GLIBC_2.2.5"}));
  const auto role_of = [&](const std::string& name) {
    for (const File& file : manifest.files)
      if (std::ranges::find(file.names, name) != file.names.end()) return file.role;
    return Role{};
  };
  EXPECT_EQ(role_of("libstdc++.so.6"), Role::kLibrary);
  EXPECT_EQ(role_of("libc.so.6"), Role::kCLibrary);
  EXPECT_EQ(role_of("ld-linux-x86-64.so.2"), Role::kLoader);
  EXPECT_EQ(decode_manifest(encode(manifest)).value(), manifest);
  for (std::size_t i = 0; i < manifest.files.size(); ++i) {
    const Result<base::UniqueFd> fd = program->open(i);
    ASSERT_TRUE(fd) << fd.error().message;
    EXPECT_EQ(digests.of(fd->get(), "a source").value(), manifest.files[i].digest) << manifest.files[i].path;
  }
}

TEST(RunningProgram, HasWhatWasLoadedLater) {
  FileDigests digests;
  const std::size_t before = describe_running_program(digests)->manifest.files.size();
  if (::dlopen("libanl.so.1", RTLD_NOW) == nullptr) GTEST_SKIP() << "no second library to load: " << ::dlerror();
  EXPECT_EQ(describe_running_program(digests)->manifest.files.size(), before + 1);
}

TEST(BelongsToHost, TheDriversOfGpus) {
  EXPECT_TRUE(belongs_to_host("libcuda.so.1"));
  EXPECT_TRUE(belongs_to_host("libnvidia-ml.so.1"));
  EXPECT_FALSE(belongs_to_host("libcudart.so.12"));
  EXPECT_FALSE(belongs_to_host("libnvrtc.so.12"));
}

}  // namespace
}  // namespace rayx::bundle

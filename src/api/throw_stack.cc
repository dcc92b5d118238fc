#include "api/throw_stack.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <execinfo.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <typeinfo>

namespace rayx::detail {
namespace {

constexpr int kFramesMax = 64;
struct NotedStack {
  void* frames[kFramesMax];
  int count = 0;
};
thread_local NotedStack t_noted;

// Answers the question "do you catch this?" with no.
class ProbeTypeInfo final : public std::type_info {
 public:
  ProbeTypeInfo() : std::type_info("N4rayx6detail15ThrowStackProbeE") {}
  bool __do_catch(const std::type_info*, void**, unsigned) const override {
    t_noted.count = ::backtrace(t_noted.frames, kFramesMax);
    return false;
  }
};

std::string describe_frame(void* address) {
  Dl_info info{};
  char number[32];
  std::snprintf(number, sizeof(number), "%#zx", reinterpret_cast<std::size_t>(address));
  // The address after the call: one less lies in the call itself.
  if (::dladdr(static_cast<char*>(address) - 1, &info) == 0 || info.dli_fname == nullptr) return number;
  std::string_view module = info.dli_fname;
  module.remove_prefix(module.rfind('/') == std::string_view::npos ? 0 : module.rfind('/') + 1);
  std::string text;
  if (info.dli_sname != nullptr) {
    int status = 0;
    char* const name = abi::__cxa_demangle(info.dli_sname, nullptr, nullptr, &status);
    text = status == 0 && name != nullptr ? name : info.dli_sname;
    std::free(name);
    text += " ";
  }
  const auto offset = reinterpret_cast<std::uintptr_t>(address) - 1 - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  std::snprintf(number, sizeof(number), "+%#zx", static_cast<std::size_t>(offset));
  return text + "(" + std::string(module) + number + ")";  // what addr2line -e module takes
}

bool is_of_cxx_runtime(void* address) {
  Dl_info info{};
  if (::dladdr(address, &info) == 0 || info.dli_fname == nullptr) return false;
  const std::string_view module = info.dli_fname;
  return module.find("libgcc_s") != std::string_view::npos || module.find("libstdc++") != std::string_view::npos;
}

}  // namespace

std::string take_throw_stack() {
  NotedStack& noted = t_noted;
  int first = 1;  // 0 is the probe
  while (first < noted.count && is_of_cxx_runtime(noted.frames[first])) ++first;
  std::string text;
  for (int i = first; i < noted.count; ++i) {
    std::string frame = describe_frame(noted.frames[i]);
    if (frame.starts_with("rayx::detail::execute(")) break;  // what called the task is no business of the user's
    if (!text.empty()) text += '\n';
    text += "  at " + frame;
  }
  noted.count = 0;
  return text;
}

}  // namespace rayx::detail

// The name that the compiler gives to the type_info of ThrowStackProbe.
extern "C" {
__attribute__((visibility("hidden"))) extern const rayx::detail::ProbeTypeInfo rayx_throw_stack_probe_info __asm__(
    "_ZTIN4rayx6detail15ThrowStackProbeE");
const rayx::detail::ProbeTypeInfo rayx_throw_stack_probe_info;
}

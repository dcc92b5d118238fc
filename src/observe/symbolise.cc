// Frames to text. With libbacktrace (functions, inlined ones too, files and lines), else with the dynamic symbol table.
#include <cxxabi.h>
#include <dlfcn.h>
#include <elf.h>
#include <link.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <mutex>
#include <optional>

#include "base/format.hpp"
#include "observe/frames.hpp"
#include "observe/module_map.hpp"

#ifdef RAYX_HAVE_LIBBACKTRACE
// Declared here and not by <backtrace.h>: that header lies among g++'s own, which another compiler must not search.
extern "C" {
struct backtrace_state;
using backtrace_error_callback = void (*)(void* data, const char* message, int error);
using backtrace_full_callback = int (*)(void* data, uintptr_t pc, const char* file, int line, const char* function);
using backtrace_syminfo_callback = void (*)(void* data, uintptr_t pc, const char* name, uintptr_t value,
                                            uintptr_t size);
backtrace_state* backtrace_create_state(const char* file, int threaded, backtrace_error_callback error, void* data);
int backtrace_pcinfo(backtrace_state*, uintptr_t pc, backtrace_full_callback, backtrace_error_callback, void* data);
int backtrace_syminfo(backtrace_state*, uintptr_t pc, backtrace_syminfo_callback, backtrace_error_callback, void* data);
}
#endif

namespace rayx::observe {
namespace {

struct Line {
  std::string function;  // demangled; empty if unknown
  std::string file;
  int line = 0;
  std::string module;
  std::uint64_t offset = 0;
  bool is_inlined = false;  // the name was found in that of the function it was inlined into
};

std::string demangle(const char* name) {
  if (name == nullptr) return {};
  int status = 0;
  char* plain = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string text = status == 0 && plain != nullptr ? plain : name;
  std::free(plain);
  return text;
}

// The frame's instruction in this process, if the same file is mapped here.
std::optional<std::uintptr_t> address_here(const Frame& frame, const std::vector<MapLine>& maps) {
  if (frame.module.empty()) return std::nullopt;
  for (const MapLine& map : maps) {
    if (map.path != frame.module || frame.file_offset < map.file_offset) continue;
    const std::uint64_t within = frame.file_offset - map.file_offset;
    // A return address may be the first byte after its function: the call is the instruction before it.
    if (within < map.end - map.begin) return map.begin + within - (frame.is_return_address ? 1 : 0);
  }
  return std::nullopt;
}

#ifdef RAYX_HAVE_LIBBACKTRACE
void ignore_error(void*, const char*, int) {}

backtrace_state* state() {
  static backtrace_state* made = backtrace_create_state(nullptr, 1, ignore_error, nullptr);
  return made;
}

void add_lines(std::uintptr_t address, const Frame& frame, std::vector<Line>& lines) {
  struct Context {
    const Frame& frame;
    std::vector<Line>& lines;
    bool found = false;
  } context{frame, lines};
  if (state() == nullptr) return;
  backtrace_pcinfo(
      state(), address,
      [](void* data, uintptr_t, const char* file, int line, const char* function) {
        auto& to = *static_cast<Context*>(data);
        if (file == nullptr && function == nullptr) return 0;
        to.lines.push_back({demangle(function), file ? file : "", line, to.frame.module, to.frame.file_offset});
        to.found = true;
        return 0;
      },
      ignore_error, &context);
  // The last line is the function itself, those before it are inlined into it. Little debug information (-g1) names it without its
  // namespace; the symbol table knows all of it.
  if (context.found && !lines.back().function.empty() && lines.back().function.ends_with(')')) return;
  backtrace_syminfo(
      state(), address,
      [](void* data, uintptr_t, const char* name, uintptr_t, uintptr_t) {
        auto& to = *static_cast<Context*>(data);
        if (name == nullptr) return;
        if (to.found) {
          to.lines.back().function = demangle(name);
          return;
        }
        to.lines.push_back({demangle(name), "", 0, to.frame.module, to.frame.file_offset});
        to.found = true;
      },
      ignore_error, &context);
}
#else
void add_lines(std::uintptr_t, const Frame&, std::vector<Line>&) {}
#endif

void add_dynamic_symbol(std::uintptr_t address, const Frame& frame, std::vector<Line>& lines) {
  Dl_info info{};
  if (::dladdr(reinterpret_cast<void*>(address), &info) != 0 && info.dli_sname != nullptr) {
    lines.push_back({demangle(info.dli_sname), "", 0, frame.module, frame.file_offset});
  }
}

// A function's name in the lists below ends with '*' if any ending is meant; else it is the whole name. (A user's
// abort_transaction() is not abort().)
bool is_one_of(std::string_view function, std::span<const std::string_view> names) {
  const std::string_view plain = function.substr(0, function.find_first_of("(@"));
  return std::any_of(names.begin(), names.end(), [&](std::string_view name) {
    return name.ends_with('*') ? function.starts_with(name.substr(0, name.size() - 1)) : plain == name;
  });
}

// How the thread came from the fault or throw to the one who took the stack: of no use to the user.
bool is_reporting(std::string_view function) {
  static constexpr std::array<std::string_view, 20> kNames = {"__clang_call_terminate",
                                                              "__gxx_personality_v0",
                                                              "rayx_capture_*",
                                                              "_Unwind_*",
                                                              "__cxa_throw",
                                                              "__cxa_rethrow",
                                                              "__restore_rt",
                                                              "raise",
                                                              "gsignal",
                                                              "abort",
                                                              "__GI_abort",
                                                              "__GI_raise",
                                                              "pthread_kill",
                                                              "__pthread_kill*",
                                                              "std::terminate",
                                                              "__gnu_cxx::__verbose*",
                                                              "__cxxabiv1::*",
                                                              "backtrace",
                                                              "__interceptor_*",
                                                              "std::rethrow_exception"};
  return is_one_of(function, kNames);
}

// Everything from here outwards is the runtime that called the user's function.
bool is_outside(std::string_view function) {
  static constexpr std::array<std::string_view, 8> kNames = {
      "rayx_capture_call_*", "rayx::process::*", "rayx::worker::*", "__libc_start_*", "_start",
      "start_thread",        "clone3",           "__clone"};
  return is_one_of(function, kNames);
}

// The templates of the public headers that lie between the runtime and the user's function. Debug information names functions
// without their namespace, so the file tells.
bool is_ours(const Line& line) {
  return line.function.starts_with("rayx::") || line.file.find("rayx/detail/") != std::string::npos;
}

// Without debug information a user's function that was inlined has left no frame, but the template that calls it is named after it:
// "rayx::detail::Thunk<rayx::detail::FunctionCallee<&ns::work>, ...>::call(...)" gives "ns::work". Empty: not such a template.
std::string inlined_callee(std::string_view function) {
  if (!function.starts_with("rayx::detail::")) return {};
  std::size_t begin = std::string_view::npos;
  for (const std::string_view callee : {"FunctionCallee<", "MethodCallee<", "ConstructorCallee<", "ObjectCallee<"}) {
    const std::size_t found = function.find(callee);
    if (found < begin) begin = found + callee.size();
  }
  if (begin == std::string_view::npos) return {};
  std::size_t end = begin;
  for (int depth = 0; end < function.size() && (depth > 0 || function[end] != '>'); ++end) {
    depth += function[end] == '<' || function[end] == '(' || function[end] == '{';
    depth -= function[end] == '>' || function[end] == ')' || function[end] == '}';
  }
  std::string_view callee = function.substr(begin, end - begin);
  if (const std::size_t method = callee.rfind(", &"); method != std::string_view::npos)
    callee.remove_prefix(method + 2);
  if (callee.starts_with('&')) callee.remove_prefix(1);
  return std::string(callee);
}

void trim(std::vector<Line>& lines) {
  // Only at the ends; a callback into the user's code from deep inside a library stays whole. Frames without a name (a C library
  // without symbols) belong to the run of reporting frames that they stand in.
  std::size_t first = 0;
  for (std::size_t i = 0; i < lines.size() && (lines[i].function.empty() || is_reporting(lines[i].function)); ++i) {
    if (is_reporting(lines[i].function)) first = i + 1;
  }
  if (first == lines.size()) first = 0;
  std::size_t last = lines.size();
  for (std::size_t i = first; i < lines.size(); ++i) {
    if (is_outside(lines[i].function)) {
      last = i;
      break;
    }
  }
  const std::size_t outside = last;
  while (last > first && is_ours(lines[last - 1])) --last;
  for (std::size_t i = last; i < outside; ++i) {
    std::string callee = inlined_callee(lines[i].function);
    if (callee.empty() || !lines[i].file.empty()) continue;
    if (last > first && lines[last - 1].function.starts_with(callee)) break;  // it has a frame of its own
    lines[i].function = std::move(callee);
    lines[i].is_inlined = true;
    std::swap(lines[last++], lines[i]);
    break;
  }
  if (last == first) return;  // nothing of the user's: show all of it
  lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(last), lines.end());
  lines.erase(lines.begin(), lines.begin() + static_cast<std::ptrdiff_t>(first));
}

}  // namespace

std::string symbolise(std::span<const Frame> frames) {
  static std::mutex
      mutex;  // dladdr and libbacktrace allow threads; the first load of debug information should happen once
  const std::lock_guard lock(mutex);
  std::vector<std::string> map_text;
  std::ifstream file("/proc/self/maps");
  for (std::string line; std::getline(file, line);) map_text.push_back(std::move(line));
  std::vector<MapLine> maps;
  for (const std::string& line : map_text) {
    MapLine map;
    if (parse_map_line(line, map) && !map.path.empty()) maps.push_back(map);
  }

  std::vector<Line> lines;
  for (const Frame& frame : frames) {
    const std::size_t before = lines.size();
    const std::optional<std::uintptr_t> address = address_here(frame, maps);
    if (address) add_lines(*address, frame, lines);
    if (address && lines.size() == before) add_dynamic_symbol(*address, frame, lines);
    if (lines.size() == before) {
      lines.push_back({"", "", 0, frame.module, frame.module.empty() ? frame.address : frame.file_offset});
    }
  }
  trim(lines);

  std::string text;
  const std::size_t shown = std::min(lines.size(), kShownFramesMax);
  for (std::size_t i = 0; i < shown; ++i) {
    const Line& line = lines[i];
    const std::string module = line.module.empty() ? "?" : line.module.substr(line.module.rfind('/') + 1);
    const std::string function = line.function.empty() ? "?" : line.function;
    if (line.file.empty()) {
      text += base::format("{:>4}. {}{} ({}+0x{:x})\n", i + 1, function, line.is_inlined ? ", inlined," : "", module,
                           line.offset);
    } else {
      text += base::format("{:>4}. {} at {}:{}\n", i + 1, function, line.file, line.line);
    }
  }
  if (lines.size() > shown) text += base::format("      … {} more\n", lines.size() - shown);
  return text;
}

}  // namespace rayx::observe

// RAYX_CHECK: a bug here or in the caller ends the process, and the message names the values.
// RAYX_DCHECK is the same in debug and sanitizer builds and nothing in release builds: for the hot path.
#pragma once

#include <sstream>
#include <string>

namespace rayx::base {

[[noreturn]] void check_failed(const char* file, int line, const char* expression, const std::string& details);

template <class... Values>
std::string describe_check(const char* message, const Values&... values) {
  std::ostringstream out;
  out << message;
  ((out << ' ' << values), ...);
  return out.str();
}

}  // namespace rayx::base

#define RAYX_CHECK(condition, message, ...)                                                         \
  do {                                                                                              \
    if (!(condition)) [[unlikely]]                                                                  \
      ::rayx::base::check_failed(__FILE__, __LINE__, #condition,                                    \
                                 ::rayx::base::describe_check(message __VA_OPT__(, ) __VA_ARGS__)); \
  } while (false)

#ifdef RAYX_DEBUG_CHECKS
#define RAYX_DCHECK(condition, message, ...) RAYX_CHECK(condition, message __VA_OPT__(, ) __VA_ARGS__)
#else
#define RAYX_DCHECK(condition, message, ...) \
  do {                                       \
  } while (false)
#endif

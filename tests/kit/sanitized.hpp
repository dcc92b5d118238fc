// Whether this program is instrumented: sanitizers end a process their own way, and need memory and address space of their own.
#pragma once

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define RAYX_IS_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define RAYX_IS_SANITIZED 1
#endif
#endif
#ifndef RAYX_IS_SANITIZED
#define RAYX_IS_SANITIZED 0
#endif

namespace rayx::kit {

inline constexpr bool kIsSanitized = RAYX_IS_SANITIZED != 0;

}  // namespace rayx::kit

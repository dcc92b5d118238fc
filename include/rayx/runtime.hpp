// Starting and ending the runtime of this process.
#pragma once

#include <tuple>
#include <type_traits>
#include <utility>

#include <rayx/options.hpp>

#pragma GCC visibility push(default)
namespace rayx {

// Owns the runtime: its destructor shuts it down. Moves; a moved-from one owns nothing.
class [[nodiscard]] Runtime {
 public:
  Runtime() noexcept = default;
  Runtime(Runtime&& other) noexcept : number_(std::exchange(other.number_, 0)) {}
  Runtime& operator=(Runtime&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  ~Runtime();
  explicit operator bool() const noexcept { return number_ != 0; }

 private:
  friend Runtime init(const Config& config);
  explicit Runtime(std::uint32_t number) noexcept : number_(number) {}
  std::uint32_t number_ = 0;  // 0: none. The destructor leaves a later runtime of the process alone
};

// Starts the embedded cluster. One runtime at a time: a second init before the first is shut down throws AlreadyInitialized;
// after that it starts a new one. Throws ConfigError, naming the field or variable, and SystemError. Any thread.
Runtime init(const Config& config = {});
template <class... Args>
  requires(sizeof...(Args) > 1 || !(std::is_convertible_v<const Args&, Config> && ...))
Runtime init(const Args&...) {
  constexpr bool kIsConfig = std::is_convertible_v<const std::tuple_element_t<0, std::tuple<Args...>>&, Config>;
  static_assert(kIsConfig, "rayx: init: argument 1 is not a Config: rayx::init({.num_cpus = 8})");
  static_assert(!kIsConfig, "rayx: init: argument 2 is one too many: rayx::init({.num_cpus = 8})");
  return {};
}

// Ends the runtime at once: waits for nothing, ends the workers and actors, frees all objects. What is used afterwards throws
// NotInitialized; references may be destroyed at any time later, and an Array that is held stays readable. What lies in an ArrayBuilder
// that was not put is gone. Nothing happens if there is no runtime. Not inside a task.
void shutdown();

bool is_initialized() noexcept;

}  // namespace rayx
#pragma GCC visibility pop

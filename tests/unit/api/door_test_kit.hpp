// What the tests of the door share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <rayx/rayx.hpp>

#include <cstdlib>
#include <functional>
#include <string>

namespace rayx {

// A test with a runtime: with processes, or inside this one where RAYX_LOCAL says so.
class DoorTest : public testing::Test {
 protected:
  Runtime runtime_ = init({.num_cpus = 2, .store_bytes = 64 << 20});
};

// Whether everything runs inside this process.
inline bool is_local() {
  const char* const local = std::getenv("RAYX_LOCAL");
  return local != nullptr && std::string_view(local) == "1";
}

// What `body` throws as an E, as text; fails the test if it throws nothing or something else.
template <class E>
std::string text_thrown_by(const std::function<void()>& body) {
  try {
    body();
  } catch (const E& error) {
    return error.what();
  } catch (const std::exception& other) {
    ADD_FAILURE() << "another exception: " << other.what();
    return {};
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

}  // namespace rayx

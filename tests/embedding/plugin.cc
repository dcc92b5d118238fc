// A library with a task of its own, loaded by name.
#include <cstdio>
#include <rayx/rayx.hpp>
#include <string>

namespace {

int square_in_plugin(int x) { return x * x; }

std::string square() {
  try {
    return std::to_string(rayx::get(rayx::remote<square_in_plugin>(6)));
  } catch (const std::exception& error) {
    return std::string("error: ") + error.what();
  }
}

}  // namespace

extern "C" {

void plugin_square() { std::printf("%s\n", square().c_str()); }

// For hosts that are not linked with rayx.
void plugin_init_and_square() {
  const rayx::Runtime runtime = rayx::init({.num_cpus = 1});
  plugin_square();
}

}  // extern "C"

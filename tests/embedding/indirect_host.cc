// A program that is linked with a library that is linked with rayx, but not with rayx itself.
#include <cstdio>

extern "C" void plugin_init_and_square();

int main() {
  std::puts("main");
  std::fflush(stdout);
  plugin_init_and_square();
}

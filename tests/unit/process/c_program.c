/* The same from C: no C++ in the program itself. */
#include <stdio.h>

#include "embed.hpp"

int main(void) {
  puts("main");
  fflush(stdout);
  return rayx_test_embed("say");
}

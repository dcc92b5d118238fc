#include "visitor_library.hpp"

int private_triple(int x) { return 3 * x; }

// Compiled with -fvisibility=hidden.
#include "weather.hpp"

namespace {
int range(int x) { throw std::out_of_range("range " + std::to_string(x)); }
}  // namespace

rayx::ObjectRef<int> square_asked_by_hidden(int x) { return rayx::remote<square_in_header>(x); }
rayx::ObjectRef<int> range_asked_by_hidden(int x) { return rayx::remote<range>(x); }

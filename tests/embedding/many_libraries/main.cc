// A program of hundreds of libraries, most of which do not know of rayx. libraries.hpp is the test's: it declares the functions,
// kLibraries, and RAYX_TEST_SOME(F), which is F(n) for some of their numbers.
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <rayx/rayx.hpp>
#include <set>
#include <vector>

#include "libraries.hpp"
#include "weather.hpp"

int libraries_made = 0;  // zero before the first constructor runs

namespace {

using Clock = std::chrono::steady_clock;

int libraries_made_here() { return libraries_made; }
int my_pid() { return ::getpid(); }

template <class Function>
void say_error(const char* what, Function function) {
  try {
    function();
    std::cout << what << ": no error\n";
  } catch (const BadWeather& error) {
    std::cout << what << ": BadWeather " << error.what() << '\n';
  } catch (const std::out_of_range& error) {
    std::cout << what << ": out_of_range " << error.what() << '\n';
  } catch (const std::exception& error) {
    std::cout << what << ": another exception: " << error.what() << '\n';
  }
}

}  // namespace

int main() {
  const auto begun = Clock::now();
  const rayx::Runtime runtime = rayx::init({.num_cpus = 2});
  const int first = rayx::get(rayx::remote<square_in_header>(3));
  const std::chrono::duration<double, std::milli> took = Clock::now() - begun;
  std::cerr << took.count() << " ms from init to the first result\n";
  std::cout << "first " << first << '\n';
  std::cout << "made " << libraries_made << " here, " << rayx::get(rayx::remote<libraries_made_here>())
            << " in a worker\n";
  std::cout << "elsewhere " << (rayx::get(rayx::remote<my_pid>()) != ::getpid()) << '\n';

  long long sum = 0, expected = 0;
  std::vector<rayx::ObjectRef<int>> numbers;
#define SUBMIT(n)                                                    \
  numbers.push_back(rayx::remote<number_of_library_##n>(n % 1'000)); \
  expected += n % 1'000 + n;
  RAYX_TEST_SOME(SUBMIT)
  for (const int number : rayx::get(numbers)) sum += number;
  std::cout << numbers.size() << " tasks " << (sum == expected ? "right" : "wrong") << '\n';

  std::cout << "squares " << rayx::get(square_asked_by_weather(5)) << ' ' << rayx::get(square_asked_by_hidden(6))
            << '\n';

  auto rain = rain_made_by_weather();
  auto here = rayx::actor<Rain>();
  rayx::get(rain.call<&Rain::fall>(2));
  std::cout << "rain " << rayx::get(rain.call<&Rain::fall>(3)) << ' ' << rayx::get(here.call<&Rain::fall>(7)) << '\n';

  say_error("storm", [] { rayx::get(storm_asked_by_weather(1)); });
  say_error("flood", [&] { rayx::get(rain.call<&Rain::flood>()); });
  say_error("range", [] { rayx::get(range_asked_by_hidden(2)); });
}

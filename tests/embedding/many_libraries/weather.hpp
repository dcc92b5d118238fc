// What libraries of a user's share: an actor, a task in a header, an exception of their own.
#pragma once

#include <rayx/rayx.hpp>
#include <stdexcept>
#include <string>

// Its what() and destructor live in the library, so its type is known by one address only if the loader makes it one.
struct BadWeather : std::runtime_error {
  explicit BadWeather(const std::string& text);
  ~BadWeather() override;
};

// An actor whose methods live in the library.
struct Rain {
  int millimetres = 0;
  int fall(int more);
  int flood();  // throws BadWeather
};

// A task in a header: every library that uses it has a copy.
inline int square_in_header(int x) { return x * x; }

rayx::ObjectRef<int> square_asked_by_weather(int x);
rayx::ObjectRef<int> storm_asked_by_weather(int x);  // throws BadWeather
rayx::ActorHandle<Rain> rain_made_by_weather();

// Of the library that hides all its other symbols, so that its copies of everything are its own.
__attribute__((visibility("default"))) rayx::ObjectRef<int> square_asked_by_hidden(int x);
__attribute__((visibility("default"))) rayx::ObjectRef<int> range_asked_by_hidden(int x);  // throws std::out_of_range

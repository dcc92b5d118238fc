#include "weather.hpp"

namespace {
const bool registered = rayx::register_exception<BadWeather>();
int storm(int x) { throw BadWeather("storm " + std::to_string(x)); }
}  // namespace

BadWeather::BadWeather(const std::string& text) : std::runtime_error(text) {}
BadWeather::~BadWeather() = default;

int Rain::fall(int more) { return millimetres += more; }
int Rain::flood() { throw BadWeather("flood after " + std::to_string(millimetres)); }

rayx::ObjectRef<int> square_asked_by_weather(int x) { return rayx::remote<square_in_header>(x); }
rayx::ObjectRef<int> storm_asked_by_weather(int x) { return rayx::remote<storm>(x); }
rayx::ActorHandle<Rain> rain_made_by_weather() { return rayx::actor<Rain>(); }

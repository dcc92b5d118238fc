// A service that tasks find by its name, without a handle being passed to them, and that is made anew if its process dies.
#include <rayx/rayx.hpp>

#include <iostream>
#include <map>
#include <string>
#include <vector>

// Keeps nothing that its constructor could not make again: so a restart changes no answer.
class Rates {
 public:
  explicit Rates(std::map<std::string, double> rates) : rates_(std::move(rates)) {}
  double of(const std::string& currency) const { return rates_.at(currency); }

 private:
  std::map<std::string, double> rates_;
};

double in_euros(const std::string& currency, double amount) {
  const auto rates = rayx::get_actor<Rates>("rates");
  return amount / rayx::get(rates.call<&Rates::of>(currency));
}

int main() {
  rayx::Runtime runtime = rayx::init();
  const std::map<std::string, double> table = {{"CHF", 0.96}, {"GBP", 0.85}, {"USD", 1.08}};
  // It lives as long as this handle; a crash costs its callers some milliseconds and no result.
  const auto rates =
      rayx::actor<Rates>(rayx::ActorOptions{.name = "rates", .max_restarts = -1, .max_task_retries = 3}, table);

  std::vector<rayx::ObjectRef<double>> amounts;
  for (const auto& [currency, rate] : table) amounts.push_back(rayx::remote<in_euros>(currency, 100 * rate));
  for (const double amount : rayx::get(amounts)) std::cout << amount << " EUR\n";

  try {
    (void)rayx::get_actor<Rates>("weights");
  } catch (const rayx::NotFound& error) {
    std::cout << error.what() << '\n';
  }
}

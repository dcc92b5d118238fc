// A counter that outlives its program: on a cluster (rayx start --head, then RAYX_ADDRESS as it says) each run counts on from the one before,
// and `detached_actor end` ends it. Without a cluster it ends with the program.
#include <rayx/rayx.hpp>

#include <iostream>
#include <string>

class Visits {
 public:
  int count() { return ++visits_; }

 private:
  int visits_ = 0;
};

int main(int argc, char** argv) {
  rayx::Runtime runtime = rayx::init();
  // The first run makes it, the others find it. It is made anew, at zero, if its node dies.
  const auto visits = rayx::actor<Visits>(
      rayx::ActorOptions{.name = "visits", .get_if_exists = true, .detached = true, .max_restarts = -1});
  std::cout << "visit " << rayx::get(visits.call<&Visits::count>()) << '\n';
  if (argc > 1 && std::string(argv[1]) == "end") rayx::kill(visits);
}

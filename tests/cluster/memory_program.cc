// A program whose actor keeps values on the node: memory_program NAME COUNT MIB FOLDER. It says what it does, and goes on when the files
// FOLDER/NAME-drop and FOLDER/NAME-end are there.
#include <poll.h>

#include <filesystem>
#include <iostream>
#include <rayx/rayx.hpp>
#include <string>
#include <vector>

namespace {

class Keeper {
 public:
  std::size_t keep(int count, std::size_t bytes) {
    for (int i = 0; i < count; ++i) values_.push_back(rayx::put(std::string(bytes, static_cast<char>('a' + i % 26))));
    return values_.size();
  }
  // They are what they were.
  std::size_t check(std::size_t bytes) {
    std::size_t right = 0;
    for (std::size_t i = 0; i < values_.size(); ++i)
      right += rayx::get(values_[i]) == std::string(bytes, static_cast<char>('a' + i % 26));
    return right;
  }
  int drop() {
    values_.clear();
    return 0;
  }

 private:
  std::vector<rayx::ObjectRef<std::string>> values_;
};

void wait_for(const std::string& file) {
  while (!std::filesystem::exists(file)) ::poll(nullptr, 0, 1);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const std::string name = argv[1];
  const int count = std::stoi(argv[2]);
  const std::size_t bytes = std::stoull(argv[3]) << 20;
  const std::string files = std::string(argv[4]) + "/" + name;
  try {
    const rayx::Runtime runtime = rayx::init();
    const auto keeper = rayx::actor<Keeper>();
    const auto kept = keeper.call<&Keeper::keep>(count, bytes);
    std::cout << "asked\n" << std::flush;
    std::cout << "keeps " << rayx::get(kept) << '\n' << std::flush;
    wait_for(files + "-drop");
    std::cout << "right " << rayx::get(keeper.call<&Keeper::check>(bytes)) << '\n' << std::flush;
    rayx::get(keeper.call<&Keeper::drop>());
    std::cout << "dropped\n" << std::flush;
    wait_for(files + "-end");
  } catch (const rayx::Exception& error) {
    std::cout << "error: " << error.what() << '\n' << std::flush;
    return 4;
  }
  return 0;
}

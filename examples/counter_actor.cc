// An actor is one object in a process of its own. Its handle can be passed to tasks; the calls of one caller run in order.
#include <rayx/rayx.hpp>

#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

class WordCount {
 public:
  explicit WordCount(std::size_t longest) : longest_(longest) {}
  int add(const std::string& word) {
    if (word.size() > longest_) throw std::length_error("a word of " + std::to_string(word.size()) + " letters");
    return ++counts_[word];
  }
  std::map<std::string, int> counts() const { return counts_; }

 private:
  std::size_t longest_;
  std::map<std::string, int> counts_;
};

// A task that talks to the actor.
int count_all(rayx::ActorHandle<WordCount> words, const std::vector<std::string>& text) {
  for (const std::string& word : text) rayx::get(words.call<&WordCount::add>(word));
  return static_cast<int>(text.size());
}

int main() {
  rayx::Runtime runtime = rayx::init();
  auto words = rayx::actor<WordCount>(std::size_t{10});

  const std::vector<std::string> first = {"to", "be", "or", "not", "to", "be"};
  const std::vector<std::string> second = {"that", "is", "the", "question", "to", "be"};
  auto a = rayx::remote<count_all>(words, first);
  auto b = rayx::remote<count_all>(words, second);
  std::cout << rayx::get(a) + rayx::get(b) << " words\n";

  for (const auto& [word, count] : rayx::get(words.call<&WordCount::counts>()))
    std::cout << word << ' ' << count << '\n';

  try {
    rayx::get(words.call<&WordCount::add>("honorificabilitudinitatibus"));
  } catch (const std::length_error& error) {  // thrown in the actor's process, caught here as what it is
    std::cout << "refused: " << error.what() << '\n';
  }
}

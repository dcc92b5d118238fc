// What all programs and tasks of a cluster share: a small table, and channels on which they tell each other what has happened.
#include <rayx/rayx.hpp>

#include <iostream>
#include <string>

// Whoever comes first does the work; the others find that it is done.
bool prepare(const std::string& what) {
  if (!rayx::KeyValues("prepared").put_if_absent(what, "done")) return false;
  rayx::publish("progress", what + " is prepared");
  return true;
}

int main() {
  rayx::Runtime runtime = rayx::init();
  rayx::Subscription progress("progress");  // from here on nothing that is published is missed
  const rayx::KeyValues prepared("prepared");
  for (const std::string& key : prepared.keys()) prepared.erase(key);  // of an earlier run on this cluster

  std::vector<rayx::ObjectRef<bool>> tries;
  for (int i = 0; i < 8; ++i) tries.push_back(rayx::remote<prepare>("the table"));
  int winners = 0;
  for (const bool was_first : rayx::get(tries)) winners += was_first ? 1 : 0;

  std::cout << winners << " of 8 tasks did it\n" << progress.next()->payload << '\n';
  for (const std::string& key : prepared.keys()) std::cout << key << ": " << *prepared.get(key) << '\n';
}

// A small table of the cluster, which all of its programs share.
#pragma once

#include <optional>
#include <string>
#include <vector>

#pragma GCC visibility push(default)
namespace rayx {

// Keys and values in one namespace: settings, addresses, checkpoints' names. They are kept by the cluster's head, outlive the program, and
// with `rayx start --head --state` the head as well; a program that runs alone has a table of its own, which ends with it. Not for
// data: a value has at most 512 KiB, all of the cluster's together 256 MiB, and each call is a question to the head (some 40 us in one
// process, a network round trip in a cluster). While the head is away calls wait for it.
//
// Each call happens at one moment between its beginning and its end, and once, also if links break meanwhile. Errors: InvalidArgument for a key
// that is empty or has more than 1,024 bytes, and for a value that is too large; OutOfMemory when the table is full; SystemError when the
// cluster is gone: then whether it was done is not known. Any thread, also inside a task.
class KeyValues {
 public:
  // At most 1,024 bytes, no zero byte. Nothing is asked yet.
  explicit KeyValues(std::string name_space = {});

  void put(const std::string& key, const std::string& value) const;  // also in place of another value
  // false: the key is there, with whatever value, and nothing was done. Of many who try at once, one succeeds.
  bool put_if_absent(const std::string& key, const std::string& value) const;
  std::optional<std::string> get(const std::string& key) const;
  bool erase(const std::string& key) const;  // false: it was not there
  // Sorted. A question for each 1,000 of them, so what is put or erased meanwhile may be among them or not.
  std::vector<std::string> keys(const std::string& prefix = {}) const;

 private:
  std::string name_space_;
};

}  // namespace rayx
#pragma GCC visibility pop

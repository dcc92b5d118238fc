// Whether a program can run with the C library of this host, or needs the one in its bundle.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include <rayx/result.hpp>

#include "bundle/manifest.hpp"

namespace rayx::bundle {

// The C library that lies on this host, read from its files: who asks may itself run with another one.
class HostLibc {
 public:
  // `interpreter` is the executable's; `root` goes before all paths (tests; empty on a real host).
  explicit HostLibc(const std::string& interpreter, std::string root = {});

  bool exists() const { return !version_.empty(); }
  const std::string& version() const { return version_; }  // "2.36"; empty: none was found
  const std::string& path() const { return path_; }        // of its libc.so.6
  bool offers(const VersionNeed& need);

 private:
  std::vector<std::string> folders_;
  std::map<std::string, std::set<std::string>> versions_;  // of each file that was asked for
  std::string version_;
  std::string path_;

  const std::set<std::string>& versions_of(const std::string& library);
};

enum class Libc { kHosts, kBundled };

// The host's if it has every version that the program's files name: it fits the host's name service, locale and
// character set modules, and security fixes reach it. Else the bundle's. If that cannot be either, an error that names both.
Result<Libc> choose_libc(const Manifest& manifest, HostLibc& host, const std::string& kernel_release);

// uname -r.
std::string kernel_release();

}  // namespace rayx::bundle

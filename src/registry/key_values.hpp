// Keys and values in namespaces, within limits. The head's requests KvPut, KvGet, KvDelete and KvKeys.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "registry/limits.hpp"
#include "registry/messages.hpp"

namespace rayx::registry {

class KeyValues {
 public:
  // kOk: it is there now. kExists: `overwrite` was not asked for. kInvalid, kFull.
  Status put(const KvPut& put);
  const std::string* find(const std::string& name_space, const std::string& key) const;
  bool erase(const std::string& name_space, const std::string& key);
  Listed list(const KvKeys& wanted) const;
  // The size and the letters of a key are such that it can be stored: no namespace holds a zero byte.
  static bool is_valid(const std::string& name_space, const std::string& key);
  std::size_t bytes() const { return bytes_; }

  // The same as answers, with their words.
  Answer answer(const KvPut& put);
  Answer answer(const KvGet& get) const;
  Answer answer(const KvDelete& request);
  Answer answer(const KvKeys& wanted) const { return {0, Status::kOk, {}, list(wanted)}; }

 private:
  static Answer said(Status status, std::string message) { return {0, status, std::move(message), {}}; }

  std::map<std::pair<std::string, std::string>, std::string> values_;
  std::size_t bytes_ = 0;  // of keys and values
};

inline bool KeyValues::is_valid(const std::string& name_space, const std::string& key) {
  return name_space.size() <= kNameBytesMax && name_space.find('\0') == std::string::npos && !key.empty() &&
         key.size() <= kKeyBytesMax;
}

inline Status KeyValues::put(const KvPut& put) {
  if (!is_valid(put.name_space, put.key) || put.value.size() > kValueBytesMax) return Status::kInvalid;
  const auto found = values_.find({put.name_space, put.key});
  if (found != values_.end() && !put.overwrite) return Status::kExists;
  const std::size_t before = found == values_.end() ? 0 : put.key.size() + found->second.size();
  const std::size_t after = bytes_ - before + put.key.size() + put.value.size();
  if (after > kStoredBytesMax) return Status::kFull;
  bytes_ = after;
  values_[{put.name_space, put.key}] = put.value;
  return Status::kOk;
}

inline const std::string* KeyValues::find(const std::string& name_space, const std::string& key) const {
  const auto found = values_.find({name_space, key});
  return found == values_.end() ? nullptr : &found->second;
}

inline bool KeyValues::erase(const std::string& name_space, const std::string& key) {
  const auto found = values_.find({name_space, key});
  if (found == values_.end()) return false;
  bytes_ -= key.size() + found->second.size();
  values_.erase(found);
  return true;
}

inline Listed KeyValues::list(const KvKeys& wanted) const {
  Listed listed;
  auto at = values_.lower_bound({wanted.name_space, std::max(wanted.prefix, wanted.after)});
  for (; at != values_.end() && at->first.first == wanted.name_space; ++at) {
    const std::string& key = at->first.second;
    if (!key.starts_with(wanted.prefix)) break;
    if (key == wanted.after && !wanted.after.empty()) continue;
    if (listed.names.size() == kListedMax) {
      listed.is_cut = true;
      break;
    }
    listed.names.push_back(key);
  }
  return listed;
}

inline Answer KeyValues::answer(const KvPut& it) {
  const Status status = put(it);
  switch (status) {
    case Status::kOk: return {};
    case Status::kExists: return said(status, "key \"" + it.key + "\" is there already");
    case Status::kFull:
      return said(status, "all values together may have " + std::to_string(kStoredBytesMax) + " bytes");
    default:
      return said(status, "a key may have 1 to " + std::to_string(kKeyBytesMax) + " bytes, a value up to " +
                              std::to_string(kValueBytesMax) + ", a namespace no zero byte");
  }
}

inline Answer KeyValues::answer(const KvGet& it) const {
  const std::string* const value = find(it.name_space, it.key);
  if (value == nullptr) return said(Status::kNotFound, "key \"" + it.key + "\" is not there");
  return {0, Status::kOk, {}, *value};
}

inline Answer KeyValues::answer(const KvDelete& it) {
  if (!erase(it.name_space, it.key)) return said(Status::kNotFound, "key \"" + it.key + "\" is not there");
  return {};
}

}  // namespace rayx::registry

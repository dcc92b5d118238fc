// What is asked of keys and values, in the words of the door and in those of the head.
#pragma once

#include <string>
#include <utility>
#include <variant>

#include <rayx/detail/backend.hpp>
#include <rayx/detail/cluster_words.hpp>

#include "registry/messages.hpp"

namespace rayx::relay {

inline registry::RequestBody request_of(detail::ClusterQuestion question, detail::KeyWords words) {
  using Question = detail::ClusterQuestion;
  switch (question) {
    case Question::kPutKey:
      return registry::KvPut{std::move(words.name_space), std::move(words.key), std::move(words.value),
                             words.may_overwrite};
    case Question::kGetKey: return registry::KvGet{std::move(words.name_space), std::move(words.key)};
    case Question::kEraseKey: return registry::KvDelete{std::move(words.name_space), std::move(words.key)};
    default: return registry::KvKeys{std::move(words.name_space), std::move(words.key), std::move(words.value)};
  }
}

inline detail::ClusterAnswer words_of(const registry::Answer& said) {
  detail::ClusterAnswer words;
  words.message = said.message;
  switch (said.status) {
    case registry::Status::kOk: break;
    case registry::Status::kExists: words.is_taken = true; break;
    case registry::Status::kNotFound: words.code = ErrorCode::kNotFound; break;
    case registry::Status::kInvalid: words.code = ErrorCode::kInvalidArgument; break;
    case registry::Status::kFull: words.code = ErrorCode::kStoreFull; break;
    case registry::Status::kJobEnded:
    case registry::Status::kLost: words.code = ErrorCode::kSystemError; break;
  }
  if (const auto* const value = std::get_if<std::string>(&said.body)) words.value = *value;
  if (const auto* const listed = std::get_if<registry::Listed>(&said.body)) {
    words.names = listed->names;
    words.is_cut = listed->is_cut;
  }
  return words;
}

}  // namespace rayx::relay

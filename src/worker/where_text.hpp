// What options say of where a task or an actor may be, as the node and the relay understand it.
#pragma once

#include <string>
#include <vector>

#include <rayx/options.hpp>

#include "base/where.hpp"

namespace rayx::worker {

static_assert(base::kNodeIdLabel == rayx::kNodeIdLabel);

inline base::Where where_of(const std::vector<LabelSelector>& labels, bool spreads) {
  base::Where where;
  where.spreads = spreads;
  for (const LabelSelector& label : labels) where.selectors.push_back({label.key, label.is_negated, label.values});
  return where;
}
inline std::string where_text(const std::vector<LabelSelector>& labels, bool spreads) {
  return base::encode(where_of(labels, spreads));
}

}  // namespace rayx::worker

// The kill points at which somebody was killed so far in this program.
#pragma once

#include <set>
#include <string>

namespace rayx::shm::test {

std::set<std::string>& killed_points();

}  // namespace rayx::shm::test

// The one seed of a test run. Printed at the start and with each failure; given back with RAYX_SEED=N or --seed=N.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace rayx::kit {

// The same value in the whole run, also in child processes. Random tests derive everything from it. Any thread.
std::uint64_t seed();
// Whether somebody asked for it, with --seed or RAYX_SEED, and it was not drawn.
bool is_seed_given();

// Takes `--seed=N` or `--seed N` out of the arguments, else reads RAYX_SEED, else draws a seed. Called by the kit's main
// before any test; a value that is no number ends the program with status 2.
void init_seed(int* argc, char** argv);

// A decimal or 0x-prefixed number that fits into 64 bits and nothing else.
std::optional<std::uint64_t> parse_seed(std::string_view text);

}  // namespace rayx::kit

// The commands of `rayx`. Each adds its arguments to the command line, and puts what is to be done into `chosen` when it was named.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

namespace CLI {
class App;
}

namespace rayx_cli {

using Command = std::function<int()>;  // gives the exit code

void add_start(CLI::App& app, Command& chosen);
void add_stop(CLI::App& app, Command& chosen);
void add_status(CLI::App& app, Command& chosen);  // and `nodes`
void add_drain(CLI::App& app, Command& chosen);
void add_doctor(CLI::App& app, Command& chosen);
void add_completion(CLI::App& app, Command& chosen);

// Where a cluster is and how to prove that one belongs to it: for all commands that ask one.
struct Where {
  std::string address;
  std::string token_file;
};
void add_where(CLI::App& command, Where& where);
// Where `rayx start` with this port keeps its token if nobody says otherwise: in the folder that only this user can read.
std::string default_token_file(std::uint16_t port);
// That of `where`, else of the environment (then empty), else the default one of a head on this machine.
std::string token_file_for(const Where& where);

inline constexpr std::uint16_t kDefaultPort = 6390;
inline constexpr int kFound = 2;  // doctor: something is to be changed

}  // namespace rayx_cli

// Which cluster, and whose token.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>

#include "commands.hpp"

namespace rayx_cli {

void add_where(CLI::App& command, Where& where) {
  command.add_option("--address", where.address, "host:port of the cluster's head")
      ->envname("RAYX_ADDRESS")
      ->default_val("127.0.0.1:" + std::to_string(kDefaultPort));
  command.add_option("--token-file", where.token_file,
                     "File with the cluster's token; RAYX_TOKEN and RAYX_TOKEN_FILE do as well, and for a head on this "
                     "machine nothing "
                     "is needed");
}

std::string default_token_file(std::uint16_t port) {
  const char* const runtime = std::getenv("XDG_RUNTIME_DIR");
  const std::string folder = runtime != nullptr && *runtime != '\0' ? runtime : "/tmp";
  return folder + "/rayx-" + std::to_string(::getuid()) + "-" + std::to_string(port) + ".token";
}

std::string token_file_for(const Where& where) {
  if (!where.token_file.empty()) return where.token_file;
  if (std::getenv("RAYX_TOKEN") != nullptr || std::getenv("RAYX_TOKEN_FILE") != nullptr) return "";
  const std::size_t colon = where.address.rfind(':');
  if (colon == std::string::npos) return "";
  const std::string file =
      default_token_file(static_cast<std::uint16_t>(std::strtoul(where.address.c_str() + colon + 1, nullptr, 10)));
  return std::filesystem::exists(file) ? file : "";
}

}  // namespace rayx_cli

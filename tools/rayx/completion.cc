// `rayx completion`: what a shell needs to complete this command line, made from the commands themselves.
#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <sstream>

#include "commands.hpp"

namespace rayx_cli {
namespace {

struct Option {
  std::string name;  // with its dashes
  std::string help;
  bool takes_value = false;
  bool is_file = false;
};
struct Subcommand {
  std::string name;
  std::string help;
  std::vector<Option> options;
};

std::vector<Subcommand> subcommands_of(const CLI::App& app) {
  std::vector<Subcommand> all;
  for (const CLI::App* const command : app.get_subcommands([](const CLI::App*) { return true; })) {
    Subcommand it{command->get_name(), command->get_description(), {}};
    for (const CLI::Option* const option : command->get_options()) {
      if (option->get_lnames().empty()) continue;
      const std::string& name = option->get_lnames().front();
      const bool is_file = name.ends_with("file") || name == "state" || name == "cache";
      it.options.push_back({"--" + name, option->get_description(), option->get_items_expected_max() > 0, is_file});
    }
    all.push_back(std::move(it));
  }
  return all;
}

// In single quotes, as all three shells take it.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char letter : text) out += letter == '\'' ? std::string("'\\''") : std::string(1, letter);
  return out + '\'';
}

std::string for_bash(const std::vector<Subcommand>& commands) {
  std::ostringstream out;
  std::string names;
  for (const Subcommand& command : commands) names += command.name + ' ';
  out << "# rayx completion bash > /etc/bash_completion.d/rayx\n"
         "_rayx() {\n"
         "  local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
         "  if [ \"$COMP_CWORD\" -eq 1 ]; then\n"
         "    COMPREPLY=($(compgen -W '"
      << names
      << "--help' -- \"$word\"))\n"
         "    return\n"
         "  fi\n"
         "  case \"${COMP_WORDS[1]}:$before\" in\n";
  for (const Subcommand& command : commands)
    for (const Option& option : command.options)
      if (option.takes_value)
        out << "    " << command.name << ':' << option.name << ") "
            << (option.is_file ? "COMPREPLY=($(compgen -f -- \"$word\"))" : "COMPREPLY=()") << "; return ;;\n";
  out << "  esac\n"
         "  case \"${COMP_WORDS[1]}\" in\n";
  for (const Subcommand& command : commands) {
    out << "    " << command.name << ") COMPREPLY=($(compgen -W '";
    for (const Option& option : command.options) out << option.name << ' ';
    out << "' -- \"$word\")) ;;\n";
  }
  out << "  esac\n"
         "}\n"
         "complete -F _rayx rayx\n";
  return out.str();
}

std::string for_zsh(const std::vector<Subcommand>& commands) {
  std::ostringstream out;
  const auto without_brackets = [](std::string text) {
    for (char& letter : text)
      if (letter == '[' || letter == ']' || letter == ':') letter = ' ';
    return text;
  };
  out << "#compdef rayx\n"
         "# rayx completion zsh > \"${fpath[1]}/_rayx\"\n"
         "_rayx() {\n"
         "  local -a commands\n"
         "  commands=(\n";
  for (const Subcommand& command : commands)
    out << "    " << quoted(command.name + ':' + without_brackets(command.help)) << '\n';
  out << "  )\n"
         "  if (( CURRENT == 2 )); then\n"
         "    _describe command commands\n"
         "    return\n"
         "  fi\n"
         "  case \"$words[2]\" in\n";
  for (const Subcommand& command : commands) {
    out << "    " << command.name << ") _arguments";
    for (const Option& option : command.options)
      out << " \\\n      "
          << quoted(option.name + '[' + without_brackets(option.help) + ']' +
                    (!option.takes_value ? ""
                     : option.is_file    ? ":file:_files"
                                         : ":value:"));
    out << " ;;\n";
  }
  out << "  esac\n"
         "}\n"
         "compdef _rayx rayx\n";
  return out.str();
}

std::string for_fish(const std::vector<Subcommand>& commands) {
  std::ostringstream out;
  out << "# rayx completion fish > ~/.config/fish/completions/rayx.fish\n"
         "complete -c rayx -f\n";
  for (const Subcommand& command : commands) {
    out << "complete -c rayx -n __fish_use_subcommand -a " << command.name << " -d " << quoted(command.help) << '\n';
    for (const Option& option : command.options)
      out << "complete -c rayx -n '__fish_seen_subcommand_from " << command.name << "' -l " << option.name.substr(2)
          << " -d " << quoted(option.help)
          << (option.is_file       ? " -r -F"
              : option.takes_value ? " -x"
                                   : "")
          << '\n';
  }
  return out.str();
}

}  // namespace

void add_completion(CLI::App& app, Command& chosen) {
  CLI::App& command = *app.add_subcommand("completion", "Print what a shell needs to complete rayx's commands");
  const auto shell = std::make_shared<std::string>();
  command.add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  command.footer("Example:\n  source <(rayx completion bash)");
  command.callback([&app, &chosen, shell] {
    chosen = [&app, shell] {
      const std::vector<Subcommand> commands = subcommands_of(app);
      std::cout << (*shell == "bash" ? for_bash(commands) : *shell == "zsh" ? for_zsh(commands) : for_fish(commands));
      return 0;
    };
  });
}

}  // namespace rayx_cli

#include "client/help_files.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "common/man_page.hpp"

namespace kv::client {
namespace {

std::string joined(const std::vector<std::string>& words, const char* between = " ") {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : between) + word;
  return text;
}

std::vector<std::string> names_of(const std::vector<FlagOutline>& flags) {
  std::vector<std::string> names;
  for (const FlagOutline& flag : flags) {
    if (!flag.letter.empty()) names.push_back(flag.letter);
    names.push_back(flag.name);
  }
  return names;
}

std::vector<std::string> names_of(const CommandOutline& command) {
  std::vector<std::string> names{command.name};
  names.insert(names.end(), command.aliases.begin(), command.aliases.end());
  return names;
}

// Those behind which a word of their own comes, by what that is.
std::vector<std::string> flags_with(const Outline& outline, const std::string& shape) {
  std::vector<std::string> names;
  const auto add = [&](const std::vector<FlagOutline>& flags) {
    for (const FlagOutline& flag : flags) {
      if (flag.shape.empty() || (!shape.empty() && flag.shape != shape)) continue;
      for (const std::string& name : names_of(std::vector<FlagOutline>{flag})) {
        if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
      }
    }
  };
  add(outline.flags);
  for (const CommandOutline& command : outline.commands) add(command.flags);
  return names;
}

bool takes_key(const CommandOutline& command) {
  return !command.words.empty() && (command.words.front().name.find("KEY") != std::string::npos ||
                                    command.words.front().name.find("PREFIX") != std::string::npos);
}

std::vector<std::string> commands_with_key(const Outline& outline) {
  std::vector<std::string> names;
  for (const CommandOutline& command : outline.commands) {
    if (!takes_key(command)) continue;
    for (const std::string& name : names_of(command)) names.push_back(name);
  }
  return names;
}

std::vector<std::string> all_commands(const Outline& outline) {
  std::vector<std::string> names;
  for (const CommandOutline& command : outline.commands) names.push_back(command.name);
  return names;
}

// In single quotes, for a shell.
std::string quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

constexpr const char* list_keys = "kvctl --no-session --timeout 500ms --consistency local list --limit 100 --";

// Runs `each` for all flags with choices, those of all commands first.
template <class Each>
void for_flags_with_choices(const Outline& outline, Each each) {
  const auto look_at = [&](const std::vector<FlagOutline>& flags) {
    for (const FlagOutline& flag : flags) {
      if (!flag.choices.empty()) each(flag);
    }
  };
  look_at(outline.flags);
  for (const CommandOutline& command : outline.commands) look_at(command.flags);
}

std::string bash_flag_choices(const Outline& outline) {
  std::string cases;
  for_flags_with_choices(outline, [&](const FlagOutline& flag) {
    cases += "    " + joined(names_of(std::vector<FlagOutline>{flag}), "|") + ") COMPREPLY=($(compgen -W " +
             quoted(joined(flag.choices)) + " -- \"$cur\")); return ;;\n";
  });
  return cases;
}

// Of a command's first word; behind it may come files.
std::string bash_word_choices(const Outline& outline) {
  std::string cases;
  for (const CommandOutline& command : outline.commands) {
    if (command.words.empty() || command.words.front().choices.empty()) continue;
    cases += "    " + command.name + ") COMPREPLY=($(compgen -W " + quoted(joined(command.words.front().choices)) +
             " -- \"$cur\")" + (command.words.size() > 1 ? " $(compgen -f -- \"$cur\")" : "") + ") ;;\n";
  }
  return cases;
}

// The same functions serve bash and, by its own emulation of them, zsh.
std::string bash_script(const Outline& outline) {
  std::string script =
      "# bash completion for kvctl\n"
      "_kvctl() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= i\n"
      "  COMPREPLY=()\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    case ${COMP_WORDS[i]} in\n"
      "      " +
      joined(flags_with(outline, ""), "|") +
      ") ((i++)) ;;\n"
      "      -*) ;;\n"
      "      *) command=${COMP_WORDS[i]}; break ;;\n"
      "    esac\n"
      "  done\n"
      "  case $prev in\n" +
      bash_flag_choices(outline) + "    " + joined(flags_with(outline, "FILE"), "|") +
      ") COMPREPLY=($(compgen -f -- \"$cur\")); return ;;\n"
      "    " +
      joined(flags_with(outline, ""), "|") +
      ") return ;;\n"
      "  esac\n"
      "  if [[ $cur == -* ]]; then\n"
      "    local flags=" +
      quoted(joined(names_of(outline.flags))) +
      "\n"
      "    case $command in\n";
  for (const CommandOutline& command : outline.commands) {
    if (command.flags.empty()) continue;
    script += "      " + joined(names_of(command), "|") +
              ") flags+=" + quoted(" " + joined(names_of(command.flags))) + " ;;\n";
  }
  script +=
      "    esac\n"
      "    COMPREPLY=($(compgen -W \"$flags\" -- \"$cur\"))\n"
      "    return\n"
      "  fi\n"
      "  case $command in\n"
      "    '') COMPREPLY=($(compgen -W " +
      quoted(joined(all_commands(outline))) +
      " -- \"$cur\")) ;;\n"
      "    help) COMPREPLY=($(compgen -W " +
      quoted(joined(all_commands(outline))) + " -- \"$cur\")) ;;\n" + bash_word_choices(outline) + "    " +
      joined(commands_with_key(outline), "|") +
      ")\n"
      "      local IFS=$'\\n'\n"
      "      COMPREPLY=($(" +
      list_keys +
      " \"$cur\" 2>/dev/null)) ;;\n"
      "    *) COMPREPLY=($(compgen -f -- \"$cur\")) ;;\n"
      "  esac\n"
      "}\n";
  return script;
}

std::string zsh_script(const Outline& outline) {
  return "#compdef kvctl\nautoload -U +X bashcompinit && bashcompinit\n" + bash_script(outline) +
         "complete -F _kvctl kvctl\n";
}

void append_fish_flags(std::string& script, const std::vector<FlagOutline>& flags, const std::string& condition) {
  for (const FlagOutline& flag : flags) {
    script += "complete -c kvctl" + (condition.empty() ? "" : " -n " + quoted(condition));
    if (!flag.letter.empty()) script += " -s " + flag.letter.substr(1);
    script += " -l " + flag.name.substr(2);
    if (flag.shape == "FILE") {
      script += " -r -F";
    } else if (!flag.shape.empty()) {
      script += flag.choices.empty() ? " -x" : " -x -a " + quoted(joined(flag.choices));
    }
    script += " -d " + quoted(flag.description) + "\n";
  }
}

std::string fish_script(const Outline& outline) {
  std::string script = "# fish completion for kvctl\ncomplete -c kvctl -f\n";
  append_fish_flags(script, outline.flags, "");
  for (const CommandOutline& command : outline.commands) {
    script += "complete -c kvctl -n __fish_use_subcommand -a " + command.name + " -d " +
              quoted(command.description) + "\n";
    append_fish_flags(script, command.flags, "__fish_seen_subcommand_from " + joined(names_of(command)));
  }
  script += "complete -c kvctl -n " + quoted("__fish_seen_subcommand_from " + joined(commands_with_key(outline))) +
            " -a '(" + list_keys + " (commandline -ct) 2>/dev/null)'\n";
  for (const CommandOutline& command : outline.commands) {
    if (command.words.empty() || command.words.front().choices.empty()) continue;
    script += "complete -c kvctl -n '__fish_seen_subcommand_from " + command.name + "' -a " +
              quoted(joined(command.words.front().choices)) + "\n";
  }
  script += "complete -c kvctl -n '__fish_seen_subcommand_from backup dump load' -F\n";
  return script;
}

std::pair<std::string, std::string> item_of(const FlagOutline& flag) {
  const std::string shape = flag.shape.empty() ? "" : " " + flag.shape;
  return {(flag.letter.empty() ? "" : flag.letter + ", ") + flag.name + shape,
          flag.description + (flag.variable.empty() ? "" : " (environment: " + flag.variable + ")")};
}

std::pair<std::string, std::string> item_of(const CommandOutline& command) {
  std::string term = joined(names_of(command), ", ");
  for (const WordOutline& word : command.words) term += " " + word.name;
  std::string meaning = command.description + "\n";
  for (const WordOutline& word : command.words) {
    if (!word.description.empty()) meaning += "\n    " + word.name + "  " + word.description;
  }
  for (const FlagOutline& flag : command.flags) {
    const auto item = item_of(flag);
    meaning += "\n    " + item.first + "  " + item.second;
  }
  return {std::move(term), meaning + (command.footer.empty() ? "" : "\n\n" + command.footer)};
}

}  // namespace

std::string man_page(const Outline& outline) {
  ManPage page{"kvctl", "reads and writes the keys of a kvd cluster", "[OPTIONS] [COMMAND]", {}};
  ManSection commands{"Commands", outline.description, {}};
  for (const CommandOutline& command : outline.commands) commands.items.push_back(item_of(command));
  ManSection options{"Options", "They may stand before or behind the command.", {}};
  for (const FlagOutline& flag : outline.flags) options.items.push_back(item_of(flag));
  page.sections.push_back(std::move(commands));
  page.sections.push_back(std::move(options));
  page.sections.push_back(
      {"Exit status",
       "",
       {{"0", "done"},
        {"1", "a negative answer: no such key, a conflict, a condition that did not hold, no leader (status)"},
        {"2", "wrong usage, or a local file that cannot be read or written"},
        {"3", "no server reached: nothing was sent"},
        {"4", "a server refused, or did not answer a read in time"},
        {"5", "the outcome of a write is not known"},
        {"130", "Ctrl-C"}}});
  page.sections.push_back({"See also", "kvd(1)", {}});
  return to_roff(page);
}

std::optional<std::string> completion_script(const Outline& outline, const std::string& shell) {
  if (shell == "bash") return bash_script(outline) + "complete -o filenames -F _kvctl kvctl\n";
  if (shell == "zsh") return zsh_script(outline);
  if (shell == "fish") return fish_script(outline);
  return std::nullopt;
}

}  // namespace kv::client

#include "client/line_help.hpp"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "client/words.hpp"

namespace kv::client {
namespace {

const CommandOutline* find_command(const Outline& outline, const std::string& name) {
  const auto found =
      std::find_if(outline.commands.begin(), outline.commands.end(), [&](const CommandOutline& command) {
        return command.name == name ||
               std::find(command.aliases.begin(), command.aliases.end(), name) != command.aliases.end();
      });
  return found == outline.commands.end() ? nullptr : &*found;
}

const FlagOutline* find_flag(const Outline& outline, const CommandOutline& command, const std::string& name) {
  for (const auto* flags : {&command.flags, &outline.flags}) {
    for (const FlagOutline& flag : *flags) {
      if (flag.name == name || flag.letter == name) return &flag;
    }
  }
  return nullptr;
}

// What the word at the end of a command's line stands for.
struct Position {
  const FlagOutline* flag_of_value = nullptr;  // it is this flag's value
  std::size_t word = 0;                        // else: how many words of the command come before it
  bool flags_ended = false;                    // behind --
};

Position position_of(const Outline& outline, const CommandOutline& command, const std::vector<std::string>& words) {
  Position position;
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (std::exchange(position.flag_of_value, nullptr)) continue;
    if (position.flags_ended || !words[i].starts_with("-") || words[i].size() == 1) {
      ++position.word;
    } else if (words[i] == "--") {
      position.flags_ended = true;
    } else if (const FlagOutline* flag = find_flag(outline, command, words[i]); flag && !flag->shape.empty()) {
      position.flag_of_value = flag;
    }
  }
  return position;
}

std::string bare(const std::string& word) {
  return word.starts_with("[") && word.ends_with("]") ? word.substr(1, word.size() - 2) : word;
}

// Those that begin with what is typed, as they would be typed.
Completions among(const UnfinishedLine& line, const std::vector<std::string>& words) {
  Completions completions;
  completions.begin = line.begin;
  for (const std::string& word : words) {
    if (word.starts_with(line.word)) completions.words.push_back(quoted_word(word) + " ");
  }
  std::sort(completions.words.begin(), completions.words.end());
  return completions;
}

Completions flags_among(const UnfinishedLine& line, const Outline& outline, const CommandOutline& command) {
  std::vector<std::string> names;
  for (const auto* flags : {&command.flags, &outline.flags}) {
    for (const FlagOutline& flag : *flags) names.push_back(flag.name);
  }
  return among(line, names);
}

Completions keys_among(const UnfinishedLine& line, const FindKeys& find_keys) {
  FoundKeys found = find_keys(line.word);
  Completions completions = among(line, found.keys);
  completions.more = found.more;
  return completions;
}

// `before`: what stands before the file's name in the word, such as @.
Completions files_among(const UnfinishedLine& line, const std::string& before) {
  Completions completions;
  completions.begin = line.begin;
  const std::string typed = line.word.substr(before.size());
  const std::string folder = typed.substr(0, typed.rfind('/') + 1);
  std::error_code error;
  for (std::filesystem::directory_iterator at(folder.empty() ? "." : folder, error), end; !error && at != end;
       at.increment(error)) {
    const std::string name = folder + at->path().filename().string();
    std::error_code ignored;
    const bool is_folder = at->is_directory(ignored);
    if (name.starts_with(typed)) {
      completions.words.push_back(quoted_word(before + name + (is_folder ? "/" : "")) + (is_folder ? "" : " "));
    }
  }
  std::sort(completions.words.begin(), completions.words.end());
  return completions;
}

std::vector<std::string> names_of(const Outline& outline) {
  std::vector<std::string> names;
  for (const CommandOutline& command : outline.commands) names.push_back(command.name);
  return names;
}

// What the value of a flag, or a word of a command, may be, by the name that its help has for it.
Completions values_among(const UnfinishedLine& line, const Outline& outline, const FindKeys& find_keys,
                         const std::string& shape, const std::vector<std::string>& choices) {
  if (!choices.empty()) return among(line, choices);
  if (shape == "KEY" || shape == "PREFIX") return keys_among(line, find_keys);
  if (shape == "FILE") return files_among(line, "");
  if (shape == "VALUE" && line.word.starts_with("@")) return files_among(line, "@");
  if (shape == "COMMAND") return among(line, names_of(outline));
  return {line.begin, {}, false};
}

}  // namespace

Completions complete_line(const Outline& outline, const FindKeys& find_keys, const std::string& before_cursor) {
  const UnfinishedLine line = split_unfinished(before_cursor);
  if (line.words.empty()) return among(line, names_of(outline));
  const CommandOutline* command = find_command(outline, line.words.front());
  if (!command) return {line.begin, {}, false};
  const Position position = position_of(outline, *command, line.words);
  if (const FlagOutline* flag = position.flag_of_value) {
    return values_among(line, outline, find_keys, flag->shape, flag->choices);
  }
  if (!position.flags_ended && line.word.starts_with("-")) return flags_among(line, outline, *command);
  if (position.word >= command->words.size()) return flags_among(line, outline, *command);
  const WordOutline& word = command->words[position.word];
  return values_among(line, outline, find_keys, bare(word.name), word.choices);
}

std::string hint_for(const Outline& outline, const std::string& text) {
  const UnfinishedLine line = split_unfinished(text);
  if (line.in_quotes) return "";
  if (line.words.empty()) {
    const CommandOutline* command = find_command(outline, line.word);
    if (!command || command->words.empty()) return "";
    std::string hint;
    for (const WordOutline& word : command->words) hint += " " + word.name;
    return hint;
  }
  // In the middle of a word there is nothing to say.
  const CommandOutline* command = find_command(outline, line.words.front());
  if (!command || !line.word.empty()) return "";
  const Position position = position_of(outline, *command, line.words);
  if (position.flag_of_value) return position.flag_of_value->shape;
  std::string hint;
  for (std::size_t i = position.word; i < command->words.size(); ++i)
    hint += (hint.empty() ? "" : " ") + command->words[i].name;
  return hint;
}

}  // namespace kv::client

// A scenario's transcript: comments (#), commands (>) and, under each command, the output it is expected to have.
// Blank lines and comments end an output. Knows nothing of what the commands mean.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace kv::scenario {

// The script is wrong, as opposed to the core.
struct ScriptError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

using Lines = std::vector<std::string>;

// A command with its output, or (without a command) a comment or a blank line, kept as it is.
struct Step {
  std::size_t line = 0;
  std::string text;  // as it stands in the file
  Lines output;

  bool is_command() const { return text.starts_with("> "); }
  std::string command() const { return text.substr(2); }
};

struct Transcript {
  std::vector<Step> steps;

  std::string text() const {
    std::string out;
    for (const Step& step : steps) {
      out += step.text + "\n";
      for (const std::string& line : step.output) out += line + "\n";
    }
    return out;
  }
};

// Throws ScriptError for a line that is neither a comment nor a command nor below a command.
inline Transcript parse_transcript(const std::string& text) {
  Transcript out;
  bool in_output = false;
  std::size_t number = 0;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string line = text.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    const bool is_command = line.starts_with("> ");
    if (is_command || line.empty() || line.starts_with("#")) {
      out.steps.push_back({number, line, {}});
      in_output = is_command;
    } else if (in_output) {
      out.steps.back().output.push_back(line);
    } else {
      throw ScriptError("line " + std::to_string(number) + ": no command is above this output: " + line);
    }
  }
  if (text.empty() || text.back() != '\n') throw ScriptError("the last line has no end");
  return out;
}

// Both, line by line: "-" only expected, "+" only got, by their longest common subsequence.
inline std::string difference(const Lines& expected, const Lines& got) {
  const std::size_t rows = expected.size(), columns = got.size();
  std::vector<std::vector<std::size_t>> common(rows + 1, std::vector<std::size_t>(columns + 1));
  for (std::size_t i = rows; i-- > 0;) {
    for (std::size_t j = columns; j-- > 0;) {
      common[i][j] =
          expected[i] == got[j] ? common[i + 1][j + 1] + 1 : std::max(common[i + 1][j], common[i][j + 1]);
    }
  }
  std::string out;
  std::size_t i = 0, j = 0;
  while (i < rows || j < columns) {
    if (i < rows && j < columns && expected[i] == got[j]) {
      out += "    " + expected[i++] + "\n";
      ++j;
    } else if (j == columns || (i < rows && common[i + 1][j] >= common[i][j + 1])) {
      out += "  - " + expected[i++] + "\n";
    } else {
      out += "  + " + got[j++] + "\n";
    }
  }
  return out;
}

struct Played {
  Transcript got;        // the same script with the outputs there were
  std::string mismatch;  // readable; empty: none
};

// Plays the script; `run` takes a command and gives its output. A ScriptError gets the file and line.
inline Played play(const std::string& file, const Transcript& script,
                   const std::function<Lines(const std::string&)>& run) {
  Played out{script, {}};
  std::size_t more = 0;
  for (Step& step : out.got.steps) {
    if (!step.is_command()) continue;
    const std::string place = file + ":" + std::to_string(step.line);
    const Lines expected = std::move(step.output);
    try {
      step.output = run(step.command());
    } catch (const ScriptError& error) {
      // The command may be impossible only because the core went another way before: show that first.
      throw ScriptError(out.mismatch + place + ": " + step.text + "\n  " + error.what());
    }
    if (step.output == expected) continue;
    if (out.mismatch.empty()) {
      out.mismatch = place + ": " + step.text + "\n  (- expected, + got)\n" + difference(expected, step.output);
    } else {
      ++more;
    }
  }
  if (more > 0) out.mismatch += "  … and " + std::to_string(more) + " more commands differ\n";
  return out;
}

}  // namespace kv::scenario

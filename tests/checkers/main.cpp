// kvcheck: checks recorded histories, files of JSON lines (tests/checkers/history_json.hpp).

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tests/checkers/events.hpp"
#include "tests/checkers/history_json.hpp"

namespace {

enum Status { good = 0, violated = 1, unreadable = 2 };

constexpr std::string_view usage =
    "usage: kvcheck FILE...\n"
    "Checks histories, as recorded of a cluster's clients, against what the store promises. Each FILE is one\n"
    "history: JSON lines, an event a line ('-': standard input). Prints what is broken, a paragraph each.\n"
    "Exit status: 0 nothing is broken, 1 something is (or could not be decided), 2 a file can't be read.\n";

std::optional<std::string> content_of(const std::string& name) {
  const auto read = [](std::istream& in) { return std::string(std::istreambuf_iterator<char>(in), {}); };
  if (name == "-") return read(std::cin);
  std::ifstream file(name, std::ios::binary);
  if (!file || file.peek() == std::ifstream::traits_type::eof()) return std::nullopt;  // a folder too
  return read(file);
}

Status check_file(const std::string& name) {
  using namespace kv::history;
  const std::optional<std::string> content = content_of(name);
  if (!content) {
    std::cerr << "kvcheck: " << name << ": can't be read, or is empty\n";
    return unreadable;
  }
  const auto parsed = parse(*content);
  if (const auto* problem = std::get_if<Unreadable>(&parsed)) {
    std::cerr << "kvcheck: " << name << ": " << problem->problem << '\n';
    return unreadable;
  }
  const auto& events = std::get<std::vector<Event>>(parsed);
  const std::vector<Violation> violations = check(events);
  for (const Violation& violation : violations) {
    std::cout << name << ": " << to_string(violation.rule) << ": " << violation.message << '\n';
  }
  if (violations.empty()) std::cout << name << ": " << events.size() << " events, nothing is broken\n";
  return violations.empty() ? good : violated;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> names(argv + 1, argv + argc);
  if (names.size() == 1 && (names[0] == "--help" || names[0] == "-h")) {
    std::cout << usage;
    return good;
  }
  bool is_usage_wrong = names.empty();
  for (const std::string& name : names) is_usage_wrong |= name.size() > 1 && name[0] == '-';
  if (is_usage_wrong) {
    std::cerr << usage;
    return unreadable;
  }
  Status worst = good;
  for (const std::string& name : names) worst = std::max(worst, check_file(name));
  return worst;
}

// An item as a line of JSON, the form in which data moves between clusters, versions and other systems:
//
//   {"key":"colour","value":"blue","ts":58}          or "value_base64", for what is not valid UTF-8
//
// What kvctl dump writes and, with this, kvctl load reads: a key and a value; all else is ignored.
#pragma once

#include <string>
#include <variant>

namespace kv {

struct ItemLine {
  std::string key;
  std::string value;
};

// What is wrong with a line, for a person. Safe to print.
struct ItemLineProblem {
  std::string text;
};

// A line without its end. The key and the value are within the protocol's limits. Never throws for bad input.
std::variant<ItemLine, ItemLineProblem> parse_item_line(const std::string& line);

}  // namespace kv

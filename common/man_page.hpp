// A program's manual page, in the form that `man` reads (man(7)).
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace kv {

struct ManSection {
  std::string title;
  std::string text;                                        // paragraphs, parted by empty lines; may be empty
  std::vector<std::pair<std::string, std::string>> items;  // a term and what it means
};

struct ManPage {
  std::string name;   // "kvctl"
  std::string brief;  // what it is, in a line
  std::string synopsis;
  std::vector<ManSection> sections;
};

std::string to_roff(const ManPage& page);

}  // namespace kv

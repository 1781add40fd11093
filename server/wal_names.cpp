#include "server/wal_names.hpp"

#include <algorithm>
#include <cctype>
#include <cstdlib>

namespace kv::wal {
namespace {

constexpr std::string_view suffix = ".wal";
constexpr std::string_view unfinished_suffix = ".wal.tmp";
constexpr std::size_t digits = 16;

std::string name_of(std::uint64_t number, std::string_view ending) {
  std::string name = std::to_string(number);
  if (name.size() < digits) name.insert(0, digits - name.size(), '0');
  return name.append(ending);
}

bool is_name(std::string_view name, std::string_view ending) {
  const auto is_digit = [](unsigned char c) { return std::isdigit(c) != 0; };
  return name.size() == digits + ending.size() && name.ends_with(ending) &&
         std::all_of(name.begin(), name.begin() + digits, is_digit);
}

}  // namespace

std::string segment_name(std::uint64_t number) {
  return name_of(number, suffix);
}

std::string unfinished_name(std::uint64_t number) {
  return name_of(number, unfinished_suffix);
}

bool is_segment_name(std::string_view name) {
  return is_name(name, suffix);
}

bool is_unfinished_name(std::string_view name) {
  return is_name(name, unfinished_suffix);
}

std::uint64_t number_of(const std::string& name) {
  return std::strtoull(name.c_str(), nullptr, 10);
}

}  // namespace kv::wal

#include "client/timestamps.hpp"

#include <algorithm>
#include <vector>

#include "common/text.hpp"

namespace kv::client {
namespace {

constexpr std::string_view header = "kvctl-session 1";

// FNV-1a: notices damage, which is all that is asked of it.
std::uint64_t checksum(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return hash;
}

// A key may hold any character: one that would break the line is written as \xHH.
void append_key(std::string& out, std::string_view key) {
  constexpr char digits[] = "0123456789abcdef";
  for (const char c : key) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || byte == '\\') {
      out += "\\x";
      out += digits[byte >> 4];
      out += digits[byte & 15];
    } else {
      out += c;
    }
  }
}

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

std::optional<std::string> parse_key(std::string_view text) {
  std::string key;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      key += text[i];
      continue;
    }
    if (i + 3 >= text.size() || text[i + 1] != 'x') return std::nullopt;
    const int high = hex_digit(text[i + 2]);
    const int low = hex_digit(text[i + 3]);
    if (high < 0 || low < 0) return std::nullopt;
    key += static_cast<char>(high * 16 + low);
    i += 3;
  }
  return key;
}

std::string_view take_line(std::string_view& text) {
  const std::size_t end = text.find('\n');
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return line;
}

std::optional<std::string_view> after(std::string_view line, std::string_view word) {
  if (!line.starts_with(word)) return std::nullopt;
  return line.substr(word.size());
}

std::string end_of(std::string_view text, std::size_t keys) {
  return "end " + std::to_string(keys) + " " + std::to_string(checksum(text));
}

}  // namespace

std::uint64_t Timestamps::position_of(std::string_view key) const {
  const auto found = keys_.find(key);
  return found == keys_.end() ? floor_ : found->second;
}

bool Timestamps::learn(std::string_view key, std::uint64_t ts) {
  if (ts <= position_of(key)) return false;
  keys_.insert_or_assign(std::string(key), ts);
  trim();
  return true;
}

void Timestamps::merge(const Timestamps& other) {
  floor_ = std::max(floor_, other.floor_);
  for (const auto& [key, ts] : other.keys_) {
    std::uint64_t& mine = keys_[key];
    mine = std::max(mine, ts);
  }
  // One side may have dropped a key that the other lists: it counts with the floor then.
  std::erase_if(keys_, [this](const auto& entry) { return entry.second <= floor_; });
  trim();
}

bool Timestamps::learn_for_all(std::uint64_t ts) {
  if (ts <= floor_) return false;
  floor_ = ts;
  std::erase_if(keys_, [this](const auto& entry) { return entry.second <= floor_; });
  return true;
}

std::uint64_t Timestamps::highest() const {
  std::uint64_t highest = floor_;
  for (const auto& [key, ts] : keys_) highest = std::max(highest, ts);
  return highest;
}

void Timestamps::trim() {
  if (keys_.size() <= limit_) return;
  std::vector<std::uint64_t> all;
  all.reserve(keys_.size());
  for (const auto& [key, ts] : keys_) all.push_back(ts);
  const auto last_dropped = all.begin() + static_cast<std::ptrdiff_t>(keys_.size() - limit_ - 1);
  std::nth_element(all.begin(), last_dropped, all.end());
  floor_ = std::max(floor_, *last_dropped);
  std::erase_if(keys_, [this](const auto& entry) { return entry.second <= floor_; });
}

std::string Timestamps::to_text(std::string_view cluster) const {
  std::string text(header);
  text += "\ncluster ";
  text += cluster;
  text += "\nfloor " + std::to_string(floor_) + "\n";
  for (const auto& [key, ts] : keys_) {
    text += std::to_string(ts) + " ";
    append_key(text, key);
    text += '\n';
  }
  return text + end_of(text, keys_.size()) + "\n";
}

bool Timestamps::has_header(std::string_view text) {
  return take_line(text) == header;
}

std::optional<Timestamps::Parsed> Timestamps::parse(std::string_view text, std::string& problem,
                                                    std::size_t limit) {
  const auto fail = [&problem](std::string what) {
    problem = std::move(what);
    return std::optional<Parsed>();
  };
  const std::string_view whole = text;
  if (take_line(text) != header) return fail("line 1: not \"" + std::string(header) + "\"");
  const std::optional<std::string_view> cluster = after(take_line(text), "cluster ");
  if (!cluster || cluster->empty()) return fail("line 2: no cluster");
  const std::optional<std::string_view> floor_text = after(take_line(text), "floor ");
  const std::optional<std::uint64_t> floor = floor_text ? parse_number(*floor_text) : std::nullopt;
  if (!floor) return fail("line 3: no floor");

  Parsed parsed{std::string(*cluster), Timestamps(limit)};
  parsed.timestamps.floor_ = *floor;
  std::size_t keys = 0;
  for (std::size_t number = 4;; ++number) {
    const std::size_t line_start = whole.size() - text.size();
    if (text.empty()) return fail("its end is missing");
    const std::string_view line = take_line(text);
    if (line.starts_with("end ")) {
      if (line != end_of(whole.substr(0, line_start), keys)) return fail("its checksum does not fit");
      break;
    }
    const std::string where = "line " + std::to_string(number) + ": ";
    const std::size_t blank = line.find(' ');
    const std::optional<std::uint64_t> ts = parse_number(line.substr(0, blank));
    if (!ts || blank == std::string_view::npos) return fail(where + "no timestamp");
    const std::optional<std::string> key = parse_key(line.substr(blank + 1));
    if (!key || key->empty()) return fail(where + "no key");
    if (*ts > *floor) parsed.timestamps.keys_.insert_or_assign(*key, *ts);
    ++keys;
  }
  if (!text.empty()) return fail("there is something behind its end");
  parsed.timestamps.trim();
  return parsed;
}

}  // namespace kv::client

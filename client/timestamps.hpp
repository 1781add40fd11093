// For each key the highest timestamp that this client has seen: what makes its next GET read its own writes and
// never go back in time (docs/protocol.md, Timestamps). A value: no files, no clock.
//
// Bounded. What is dropped, always the lowest, raises one `floor` that counts for every key that is not listed:
// a GET of such a key may wait for more than it must, never for less. So all that is listed is above the floor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace kv::client {

class Timestamps {
 public:
  static constexpr std::size_t max_keys = 10'000;

  explicit Timestamps(std::size_t limit = max_keys) : limit_(limit) {}

  // What the next GET of the key has to send: its own timestamp, or the floor.
  std::uint64_t position_of(std::string_view key) const;
  // Keeps the higher one. False: nothing new.
  bool learn(std::string_view key, std::uint64_t ts);
  void merge(const Timestamps& other);
  // The same for every key at once. False: nothing new.
  bool learn_for_all(std::uint64_t ts);
  // Of all keys.
  std::uint64_t highest() const;

  std::uint64_t floor() const { return floor_; }
  std::size_t size() const { return keys_.size(); }
  bool operator==(const Timestamps& other) const { return floor_ == other.floor_ && keys_ == other.keys_; }

  // The session file's text, for people to read too: a header with a version, the cluster, the floor, a line
  // for each key, and an end with a checksum, so that a torn or changed file is noticed.
  std::string to_text(std::string_view cluster) const;
  // Whether the text says of itself that it is a session file of this version.
  static bool has_header(std::string_view text);
  struct Parsed;
  // On failure `problem` says what is wrong and where ("line 4: no timestamp").
  static std::optional<Parsed> parse(std::string_view text, std::string& problem, std::size_t limit = max_keys);

 private:
  void trim();

  std::size_t limit_;
  std::uint64_t floor_ = 0;
  std::map<std::string, std::uint64_t, std::less<>> keys_;
};

struct Timestamps::Parsed {
  std::string cluster;
  Timestamps timestamps;
};

}  // namespace kv::client

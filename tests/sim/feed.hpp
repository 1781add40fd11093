// What a watch has to bring: the changes of its keys behind a position, in order and each once (docs/protocol.md,
// WATCH). Held against the model's list of all changes, which only grows.
//
// The judge has one for each watch of a server; a client that watches on at another server has one for all of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "common/message.hpp"
#include "tests/sim/model.hpp"

namespace kv::sim {

class Feed {
 public:
  Feed() = default;
  Feed(const message::Watch& watch, std::uint64_t from);

  // An event that has come. What is wrong with it; nothing: it is the next one.
  std::optional<std::string> take(const Model& model, const message::Event& event, bool more);
  // The first change up to this position that has not come; nullptr: none is missing.
  const Model::Change* missing(const Model& model, std::uint64_t position);
  // The last position of which all events are known to have come: from there on a client may ask again.
  std::uint64_t complete() const { return complete_; }
  // Begins again behind complete(), or behind a later position that all is known of from elsewhere.
  void resume() { next_.reset(); }
  void skip_to(std::uint64_t position);

 private:
  bool matches(const std::string& key) const;
  void find_next(const Model& model);

  bool is_prefix_ = false;
  std::string what_;
  std::uint64_t complete_ = 0;
  std::optional<std::size_t> next_;  // the place in the model's changes from which on nothing has come
};

}  // namespace kv::sim

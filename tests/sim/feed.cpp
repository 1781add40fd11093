#include "tests/sim/feed.hpp"

#include <algorithm>

namespace kv::sim {
namespace {

std::string spell(const std::string& key, const std::optional<std::string>& value, std::uint64_t ts) {
  return (value ? "PUT '" + key + "' = '" + *value + "'" : "DELETE '" + key + "'") + " of " + std::to_string(ts);
}

}  // namespace

Feed::Feed(const message::Watch& watch, std::uint64_t from)
    : is_prefix_(watch.prefix.has_value()),
      what_(watch.prefix ? *watch.prefix : watch.key.value_or("")),
      complete_(from) {}

bool Feed::matches(const std::string& key) const {
  return is_prefix_ ? key.starts_with(what_) : key == what_;
}

void Feed::skip_to(std::uint64_t position) {
  complete_ = std::max(complete_, position);
  next_.reset();
}

// What does not belong to it is passed over, once.
void Feed::find_next(const Model& model) {
  if (!next_) next_ = model.first_change_after(complete_);
  while (*next_ < model.changes().size()) {
    const Model::Change& change = model.changes()[*next_];
    if (change.ts > complete_ && matches(change.key)) return;
    ++*next_;
  }
}

std::optional<std::string> Feed::take(const Model& model, const message::Event& event, bool more) {
  find_next(model);
  const std::string got = "the event " + spell(event.key, event.value, event.ts);
  if (*next_ == model.changes().size()) return got + " comes, of what has not been changed";
  const Model::Change& due = model.changes()[*next_];
  const auto op = due.value ? message::Operation::put : message::Operation::erase;
  if (event.op != op || event.key != due.key || event.value != due.value || event.ts != due.ts) {
    return got + " comes where " + spell(due.key, due.value, due.ts) + " is next";
  }
  ++*next_;
  find_next(model);
  const bool follows = *next_ < model.changes().size() && model.changes()[*next_].ts == due.ts;
  if (more != follows) return got + (more ? " says" : " does not say") + " that another of its ts follows";
  if (!more) complete_ = event.ts;
  return std::nullopt;
}

const Model::Change* Feed::missing(const Model& model, std::uint64_t position) {
  find_next(model);
  if (*next_ == model.changes().size()) return nullptr;
  const Model::Change& next = model.changes()[*next_];
  return next.ts <= position ? &next : nullptr;
}

}  // namespace kv::sim

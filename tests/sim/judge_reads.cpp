// What clients read, held against the model: GET, also of a key's next version, and LIST.
#include <algorithm>

#include "tests/sim/judge.hpp"

namespace kv::sim {
namespace {

// So many positions back deletions are remembered (docs/protocol.md, GET).
constexpr std::uint64_t deletions_remembered = 100'000;

}  // namespace

// The highest position of a value that somebody had read linearizably of what this asks for.
std::uint64_t Judge::floor_of(const message::Request& request) const {
  std::uint64_t floor = 0;
  if (const auto* get = std::get_if<message::Get>(&request.body)) {
    if (const auto told = told_of_key_.find(get->key); told != told_of_key_.end()) floor = told->second;
  } else if (const auto* list = std::get_if<message::List>(&request.body)) {
    for (const auto& [key, ts] : told_of_key_) {
      if (key.starts_with(list->prefix)) floor = std::max(floor, ts);
    }
  }
  return floor;
}

void Judge::check_is_current(const OpenRequest& open, std::uint64_t applied) {
  world_.check(Rule::read_is_current, applied >= open.floor, [&] {
    return open.node + " answers a linearizable read at " + std::to_string(applied) +
           ", though a client had been told of " + std::to_string(open.floor) + " before it asked";
  });
}

void Judge::check_answer(const OpenRequest& open, const message::GetOk& ok) {
  const auto& get = std::get<message::Get>(open.request.body);
  const Model::Version* version = ok.applied <= committed_.size() ? model_.at(get.key, ok.applied) : nullptr;
  const bool absent = !version || !version->value;
  // Of a deletion only who waits for the next version is told.
  const std::uint64_t ts_of_absent = get.newer_than && version ? version->position : 0;
  const bool is_true =
      ok.applied <= committed_.size() && ok.key == get.key &&
      (absent ? !ok.value && ok.ts == ts_of_absent : ok.value == version->value && ok.ts == version->position);
  world_.check(Rule::read_is_true, is_true, [&] {
    return open.node + " says that '" + get.key + "' was '" + ok.value.value_or("(absent)") + "' of " +
           std::to_string(ok.ts) + " at position " + std::to_string(ok.applied) + ", the log says otherwise";
  });
  if (get.consistency == message::Consistency::session) {
    world_.check(Rule::read_is_fresh, ok.applied >= get.ts, [&] {
      return open.node + " has applied " + std::to_string(ok.applied) + " and answers a read that asked for " +
             std::to_string(get.ts);
    });
  }
  if (get.newer_than) check_newer(open, get, ok);
  if (get.consistency != message::Consistency::linearizable) return;
  check_is_current(open, ok.applied);
  std::uint64_t& told = told_of_key_[get.key];
  told = std::max(told, ok.ts);
}

// Early is only the answer to who asks for what nobody remembers.
void Judge::check_newer(const OpenRequest& open, const message::Get& get, const message::GetOk& ok) {
  const bool may_be_early = !ok.value && *get.newer_than + deletions_remembered < ok.applied;
  world_.check(Rule::newer_is_newer, ok.ts > *get.newer_than || may_be_early, [&] {
    return open.node + " answers with '" + get.key + "' of " + std::to_string(ok.ts) +
           ", where a newer version than " + std::to_string(*get.newer_than) + " was asked for";
  });
}

void Judge::check_answer(const OpenRequest& open, const message::ListOk& ok) {
  const auto& list = std::get<message::List>(open.request.body);
  const std::size_t limit = std::min(list.limit.value_or(max_list_items), max_list_items);
  bool is_true = ok.applied <= committed_.size();
  if (is_true) {
    const Model::Page page = model_.list(list.prefix, list.after, limit, ok.applied);
    is_true = ok.more == page.more &&
              std::equal(ok.items.begin(), ok.items.end(), page.items.begin(), page.items.end(),
                         [&](const message::ListItem& told, const auto& item) {
                           const auto& [key, version] = item;
                           const bool has_value = list.keys_only ? !told.value : told.value == version->value;
                           return told.key == key && told.ts == version->position && has_value;
                         });
  }
  world_.check(Rule::list_is_true, is_true, [&] {
    return open.node + " lists " + std::to_string(ok.items.size()) + " keys from '" + list.prefix +
           "' at position " + std::to_string(ok.applied) + (ok.more ? " and says there are more" : "") +
           "; the log says otherwise";
  });
  if (list.consistency == message::Consistency::session) {
    world_.check(Rule::read_is_fresh, ok.applied >= list.ts, [&] {
      return open.node + " has applied " + std::to_string(ok.applied) + " and answers a LIST that asked for " +
             std::to_string(list.ts);
    });
  }
  if (list.consistency != message::Consistency::linearizable) return;
  check_is_current(open, ok.applied);
  for (const message::ListItem& item : ok.items) {
    std::uint64_t& told = told_of_key_[item.key];
    told = std::max(told, item.ts);
  }
}

// Who was told to wait for a newer version has it as soon as there is one.
void Judge::flushed(const std::string& node, const Replica& replica) {
  watches_.flushed(node, replica.has_more());
  if (replica.has_more()) return;
  for (const auto& [key, open] : open_) {
    const auto* get = std::get_if<message::Get>(&open.request.body);
    if (!get || !get->newer_than || !open.waits || open.node != node) continue;
    if (get->consistency == message::Consistency::session && get->ts > replica.applied()) continue;
    const Model::Version* version = model_.at(get->key, replica.applied());
    world_.check(Rule::newer_not_missed, !version || version->position <= *get->newer_than, [&] {
      return node + " has applied " + std::to_string(replica.applied()) + " and lets a client wait for '" +
             get->key + "' newer than " + std::to_string(*get->newer_than) + ", which is of " +
             std::to_string(version->position);
    });
  }
}

}  // namespace kv::sim

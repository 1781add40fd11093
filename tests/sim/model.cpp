#include "tests/sim/model.hpp"

#include <algorithm>

#include "server/translate.hpp"

namespace kv::sim {
namespace {

constexpr std::size_t answers_a_session = 256;  // docs/protocol.md, PUT

}  // namespace

void Model::apply(std::uint64_t position, const command::Command* command) {
  if (!command) return;
  if (const auto* put = std::get_if<command::Put>(command)) {
    write(position, std::string(put->key), put->if_ts, put->session, std::string(put->value));
  } else if (const auto* del = std::get_if<command::Delete>(command)) {
    write(position, std::string(del->key), del->if_ts, del->session, std::nullopt);
  } else if (const auto* txn = std::get_if<command::Txn>(command)) {
    transact(position, *txn);
  }
}

const Model::Version* Model::newest(const std::string& key) const {
  const auto found = keys_.find(key);
  if (found == keys_.end() || !found->second.back().value) return nullptr;
  return &found->second.back();
}

// A key that was absent and is deleted has not changed.
void Model::set(std::uint64_t position, const std::string& key, const std::optional<std::string>& value) {
  if (!value && !newest(key)) return;
  keys_[key].push_back({position, value});
  changes_.push_back({position, key, value});
}

void Model::write(std::uint64_t position, const std::string& key, const std::optional<std::uint64_t>& if_ts,
                  const std::optional<command::Session>& session, const std::optional<std::string>& value) {
  if (session && !is_first(position, *session)) return;
  const Version* before = newest(key);
  if (if_ts && *if_ts != (before ? before->position : 0)) return;
  effects_[position] = {key, value, before != nullptr};
  set(position, key, value);
}

// What the operations have written so far lies in `now`, over the state before.
void Model::transact(std::uint64_t position, const command::Txn& txn) {
  if (txn.session && !is_first(position, *txn.session)) return;
  TxnEffect effect{std::get<message::Txn>(to_forward(txn)), true, {}};
  for (const message::TxnCondition& condition : effect.txn.conditions) {
    const Version* before = newest(condition.key);
    if (condition.ts != (before ? before->position : 0)) effect.succeeded = false;
  }
  std::map<std::string, Version> now;
  std::map<std::string, std::size_t> last;
  for (const message::TxnOperation& operation : effect.done()) {
    const Version* before = newest(operation.key);
    if (const auto written = now.find(operation.key); written != now.end()) before = &written->second;
    const bool found = before && before->value;
    TxnResult result{std::nullopt, position, false};
    if (operation.op == message::Operation::get) {
      result.value = found ? before->value : std::nullopt;
      result.ts = found ? before->position : 0;
    } else {
      const bool puts = operation.op == message::Operation::put;
      result.found = !puts && found;
      last[operation.key] = effect.results.size();
      now[operation.key] = {position, puts ? operation.value : std::nullopt};
    }
    effect.results.push_back(std::move(result));
  }
  for (std::size_t i = 0; i < effect.done().size(); ++i) {
    const std::string& key = effect.done()[i].key;
    if (const auto write = last.find(key); write != last.end() && write->second == i) {
      set(position, key, now.at(key).value);
    }
  }
  txns_.emplace(position, std::move(effect));
}

bool Model::is_first(std::uint64_t position, const command::Session& asked) {
  const std::string id(asked.id);
  if (!sessions_.contains(id)) {
    if (asked.from < forgotten_through_) return false;
    if (sessions_.size() == sessions_kept_) {
      const auto idlest = std::min_element(sessions_.begin(), sessions_.end(), [](const auto& a, const auto& b) {
        return a.second.last_used < b.second.last_used;
      });
      forgotten_through_ = std::max(forgotten_through_, idlest->second.last_used);
      sessions_.erase(idlest);
    }
  }
  Session& session = sessions_[id];
  session.last_used = position;
  if (asked.seq <= session.dropped_through || session.answered.contains(asked.seq)) return false;
  session.answered[asked.seq] = true;
  if (session.answered.size() > answers_a_session) {
    session.dropped_through = session.answered.begin()->first;
    session.answered.erase(session.answered.begin());
  }
  return true;
}

const Model::Version* Model::at(const std::string& key, std::uint64_t position) const {
  const auto found = keys_.find(key);
  if (found == keys_.end()) return nullptr;
  const std::vector<Version>& versions = found->second;
  const auto after = std::upper_bound(versions.begin(), versions.end(), position,
                                      [](std::uint64_t p, const Version& version) { return p < version.position; });
  return after == versions.begin() ? nullptr : &*std::prev(after);
}

const Model::Effect* Model::effect(std::uint64_t position) const {
  const auto found = effects_.find(position);
  return found == effects_.end() ? nullptr : &found->second;
}

const Model::TxnEffect* Model::txn(std::uint64_t position) const {
  const auto found = txns_.find(position);
  return found == txns_.end() ? nullptr : &found->second;
}

std::size_t Model::first_change_after(std::uint64_t position) const {
  const auto after = std::upper_bound(changes_.begin(), changes_.end(), position,
                                      [](std::uint64_t p, const Change& change) { return p < change.ts; });
  return static_cast<std::size_t>(after - changes_.begin());
}

Model::Page Model::list(const std::string& prefix, const std::string& after, std::size_t limit,
                        std::uint64_t position) const {
  Page page;
  for (const auto& [key, versions] : keys_) {
    if (key <= after || !key.starts_with(prefix)) continue;
    const Version* version = at(key, position);
    if (!version || !version->value) continue;
    page.more = page.items.size() == limit;
    if (page.more) break;
    page.items.emplace_back(key, version);
  }
  return page;
}

}  // namespace kv::sim

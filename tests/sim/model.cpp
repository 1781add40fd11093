#include "tests/sim/model.hpp"

#include <algorithm>

namespace kv::sim {
namespace {

constexpr std::size_t answers_a_session = 256;  // docs/protocol.md, PUT

}  // namespace

void Model::apply(std::uint64_t position, const command::Command* command) {
  if (!command) return;
  if (const auto* put = std::get_if<command::Put>(command)) {
    write(position, put->key, put->if_ts, put->session, put->value);
  } else if (const auto* del = std::get_if<command::Delete>(command)) {
    write(position, del->key, del->if_ts, del->session, std::nullopt);
  }
}

void Model::write(std::uint64_t position, const std::string& key, const std::optional<std::uint64_t>& if_ts,
                  const std::optional<command::Session>& session, const std::optional<std::string>& value) {
  if (session && !is_first(position, *session)) return;
  std::vector<Version>& versions = keys_[key];
  const bool found = !versions.empty() && versions.back().value;
  const std::uint64_t ts = found ? versions.back().position : 0;
  if (if_ts && *if_ts != ts) return;
  effects_[position] = {key, value, found};
  if (value || found) versions.push_back({position, value});
}

bool Model::is_first(std::uint64_t position, const command::Session& asked) {
  if (!sessions_.contains(asked.id)) {
    if (asked.from < forgotten_through_) return false;
    if (sessions_.size() == sessions_kept_) {
      const auto idlest = std::min_element(sessions_.begin(), sessions_.end(), [](const auto& a, const auto& b) {
        return a.second.last_used < b.second.last_used;
      });
      forgotten_through_ = std::max(forgotten_through_, idlest->second.last_used);
      sessions_.erase(idlest);
    }
  }
  Session& session = sessions_[asked.id];
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

}  // namespace kv::sim

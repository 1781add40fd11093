#include "tests/sim/judge.hpp"

#include <xxhash.h>

#include <algorithm>

namespace kv::sim {
namespace {

std::string spell(std::uint64_t position, raft::Term term) {
  return "entry " + std::to_string(position) + " of term " + std::to_string(term.value);
}

std::string spell(const raft::HardState& state) {
  return "term " + std::to_string(state.term.value) + ", vote '" + state.vote.name + "'";
}

// What a command asks to be written, each the only one of its kind.
std::vector<std::string> values_of(const command::Command& command) {
  if (const auto* put = std::get_if<command::Put>(&command)) return {std::string(put->value)};
  std::vector<std::string> values;
  if (const auto* txn = std::get_if<command::Txn>(&command)) {
    for (const auto* operations : {&txn->then, &txn->otherwise}) {
      for (const command::Operation& operation : *operations) {
        if (operation.what == command::Operation::What::put) values.emplace_back(operation.value);
      }
    }
  }
  return values;
}

// How often the whole state is compared: looking at all of it takes a while.
constexpr std::uint64_t digest_every = 8;

}  // namespace

Judge::Judge(World& world) : world_(world), model_(world.plan.sessions_kept), watches_(world, model_) {}

Judge::Mark Judge::mark_of(const raft::Entry& entry) {
  const std::uint64_t command = entry.command ? XXH3_64bits((*entry.command).data(), entry.command.size()) : 0;
  return {entry.term, command};
}

// What is in a snapshot is committed, and all that a log has at and before its position.
void Judge::begin_at(Log& log, raft::Index base) const {
  log.entries.assign(committed_.begin(), committed_.begin() + static_cast<std::ptrdiff_t>(base.value));
}

void Judge::add(Log& log, const raft::Write& write) const {
  if (write.hard_state) log.hard_state = *write.hard_state;
  if (write.snapshot && write.snapshot->resets_log) begin_at(log, write.snapshot->position.index);
  for (const raft::Entry& entry : write.entries) {
    log.entries.resize(entry.index.value - 1);
    log.entries.push_back(mark_of(entry));
  }
  log.commit = std::max(log.commit, std::min(write.commit, raft::Index(log.entries.size())));
}

// ---- The disk

bool Judge::matches(const Log& log, const Recovered& recovered) const {
  const std::uint64_t base = recovered.replica.base.index.value;
  const auto& entries = recovered.replica.entries;
  raft::HardState hard_state = log.hard_state;
  // A snapshot may be further than the log, or fit it no more: the log is then what the snapshot stands for.
  const bool begins_anew = recovered.replica.mark_due.has_value();
  if (begins_anew && hard_state.term < recovered.replica.base.term) hard_state = {recovered.replica.base.term, {}};
  if (recovered.replica.hard_state != hard_state || recovered.replica.commit != log.commit) return false;
  if (begins_anew) {
    const bool fits = base <= log.entries.size() && log.entries[base - 1] == committed_[base - 1];
    return entries.empty() && !fits;
  }
  return base <= log.entries.size() &&
         std::equal(log.entries.begin() + static_cast<std::ptrdiff_t>(base), log.entries.end(), entries.begin(),
                    entries.end(),
                    [](const Mark& mark, const raft::Entry& entry) { return mark == mark_of(entry); });
}

void Judge::recovered(const std::string& node, const Recovered& recovered) {
  identities_[node] = recovered.identity;
  Disk& disk = disks_[recovered.identity];
  disk.node = node;
  // The write that was under way may have reached the disk, as a whole; nobody was told.
  if (disk.under_way) {
    Log with = disk.durable;
    add(with, *disk.under_way);
    if (matches(with, recovered)) {
      disk.durable = std::move(with);
      check_entries(disk.durable, *disk.under_way);
    }
    disk.under_way.reset();
  }
  world_.check(Rule::recovery_exact, matches(disk.durable, recovered), [&] {
    const ReplicaRestored& restored = recovered.replica;
    return node + " has recovered " + spell(restored.hard_state) + ", " + std::to_string(restored.entries.size()) +
           " entries behind " + std::to_string(restored.base.index.value) + ", commit " +
           std::to_string(restored.commit.value) + "; durable were " + spell(disk.durable.hard_state) + ", " +
           std::to_string(disk.durable.entries.size()) + " entries, commit " +
           std::to_string(disk.durable.commit.value);
  });
  // Where a mark is due the log is still what it was: should the snapshot be damaged before the mark is durable, an
  // older one and that log take its place, and nothing has been promised meanwhile.
  check_snapshot(node, *recovered.replica.store, recovered.replica.stored.index.value);
}

void Judge::snapshot_done(const std::string& node, const SnapshotResult& result) {
  const auto* received = std::get_if<snapshot_result::Received>(&result);
  if (!received || !received->store) return;
  world_.coverage.note(Fault::behind_the_log);
  check_snapshot(node, *received->store, received->position.index.value);
}

// Nothing else moves the applied position between two turns.
void Judge::snapshot_taken(const std::string& node, const Replica& replica) {
  if (replica.applied() > processes_.at(node).applied) watches_.installed(node, replica.applied());
}

// All of it, and nothing else, is what the log's commands have come to.
void Judge::check_snapshot(const std::string& node, const Store& store, std::uint64_t position) {
  std::size_t keys = 0;
  bool alike = position <= committed_.size();
  for (const auto& [key, versions] : model_.keys()) {
    const Model::Version* version = model_.at(key, position);
    const Item* item = store.find(key);
    const bool absent = !version || !version->value;
    alike = alike && (absent ? !item : item && item->value() == *version->value && item->ts() == version->position);
    if (item) ++keys;
  }
  alike = alike && keys == store.keys();
  const auto digest = digests_.find(position);
  alike = alike && (digest == digests_.end() || digest->second == store.digest());
  world_.check(Rule::snapshot_true, alike, [&] {
    return node + " has a snapshot of " + std::to_string(position) + " that is not the state there";
  });
}

std::uint64_t Judge::agreed(const raft::Log& log) const {
  std::uint64_t position = std::min<std::uint64_t>(log.last_index().value, committed_.size());
  while (position > 0 && log.term_at(raft::Index(position)) != committed_[position - 1].term) --position;
  return position;
}

bool Judge::has_promised(const std::string& node) const {
  const auto identity = identities_.find(node);
  if (identity == identities_.end()) return false;
  const Disk& disk = disks_.at(identity->second);
  return disk.under_way || disk.durable.hard_state != raft::HardState{} || !disk.durable.entries.empty();
}

void Judge::writes(const std::string& node, const raft::Write& write) {
  disk_of(node).under_way = write;
}

void Judge::written(const std::string& node) {
  Disk& disk = disk_of(node);
  add(disk.durable, *disk.under_way);
  check_entries(disk.durable, *disk.under_way);
  disk.under_way.reset();
}

// An entry with one position and one term is the same on every disk, and so is all before it (Raft §5.3).
void Judge::check_entries(const Log& log, const raft::Write& write) {
  for (const raft::Entry& entry : write.entries) {
    const std::uint64_t position = entry.index.value;
    const raft::Term before = position == 1 ? raft::Term{} : log.entries[position - 2].term;
    const std::pair here{log.entries[position - 1].command, before};
    const auto [found, is_new] = entries_.emplace(std::pair{position, entry.term}, here);
    world_.check(Rule::log_matching, is_new || found->second == here,
                 [&] { return "there are two of " + spell(position, entry.term); });
  }
}

// How many servers have it on disk.
std::size_t Judge::copies(std::uint64_t position, const Mark& mark) const {
  std::set<std::string> nodes;
  for (const auto& [identity, disk] : disks_) {
    const auto& entries = disk.durable.entries;
    if (position <= entries.size() && entries[position - 1] == mark) nodes.insert(disk.node);
  }
  return nodes.size();
}

// ---- The process

void Judge::started(const std::string& node, const Replica& replica) {
  const raft::Raft& raft = replica.raft();
  const raft::Index known = std::max(disk_of(node).durable.commit, raft.log().base_index());
  const bool all_applied =
      raft.lacks_state() ? replica.applied() == replica.snapshot().index.value : replica.applied() == known.value;
  world_.check(Rule::recovery_exact, all_applied, [&] {
    return node + " starts with " + std::to_string(replica.applied()) + " applied, though " +
           std::to_string(known.value) + " were known to be committed";
  });
  processes_[node] = {&replica, {}, {}, 0, false};
  watches_.started(node, replica.snapshot().index.value, replica.snapshot().index.value);
  stepped(node, replica);
}

void Judge::ended(const std::string& node) {
  processes_.erase(node);
  watches_.ended(node);
  std::erase_if(open_, [&](const auto& item) { return item.second.node == node; });
}

raft::Index Judge::stepped(const std::string& node, const Replica& replica) {
  const raft::Raft& raft = replica.raft();
  Process& seen = processes_.at(node);
  const Process before = seen;
  seen = {&replica, raft.term(), raft.commit(), replica.applied(), raft.leads()};
  world_.check(Rule::only_grows,
               seen.term >= before.term && seen.commit >= before.commit && seen.applied >= before.applied &&
                   seen.applied <= seen.commit.value,
               [&] { return node + " has gone back: its term, commit or applied position is lower than before"; });
  if (raft.leads() && !(before.leads && before.term == seen.term)) check_leader(node, raft);
  if (seen.commit > before.commit) check_commit(node, raft, before);
  if (seen.applied > before.applied) check_store(node, replica, before.applied);
  watches_.applied(node, replica.applied());
  return before.commit;
}

void Judge::check_leader(const std::string& node, const raft::Raft& raft) {
  const auto [found, is_new] = leaders_.emplace(raft.term(), node);
  world_.check(Rule::one_leader_a_term, is_new || found->second == node, [&] {
    return node + " and " + found->second + " both lead term " + std::to_string(raft.term().value);
  });
  // What was committed in an earlier term. One that is elected late, while a newer term has its leader already,
  // can commit nothing.
  for (std::uint64_t position = raft.log().first_index().value; position <= committed_.size(); ++position) {
    const Mark& mark = committed_[position - 1];
    if (committed_in_[position - 1] >= raft.term()) break;
    world_.check(Rule::leader_completeness, raft.log().term_at(raft::Index(position)) == mark.term, [&] {
      return node + " leads term " + std::to_string(raft.term().value) + " without the committed " +
             spell(position, mark.term);
    });
  }
}

void Judge::check_commit(const std::string& node, const raft::Raft& raft, const Process& before) {
  const raft::Index first = std::max(before.commit.next(), raft.log().first_index());
  for (raft::Index index = first; index <= raft.commit(); index = index.next()) {
    const raft::Entry& entry = raft.log().at(index);
    if (index.value > committed_.size()) commit(entry, raft.term());
    const Mark& mark = committed_[index.value - 1];
    world_.check(Rule::committed_alike, mark == mark_of(entry), [&] {
      return node + " has committed " + spell(index.value, entry.term) + ", another server " +
             spell(index.value, mark.term);
    });
  }
  if (!raft.leads() || !before.leads) return;  // what it had committed before it led is not its doing
  const raft::Entry& last = raft.log().at(raft.commit());
  world_.check(Rule::commit_own_term, last.term == raft.term(), [&] {
    return node + ", which leads term " + std::to_string(raft.term().value) + ", has counted the copies of " +
           spell(last.index.value, last.term);
  });
  const std::size_t on_disks = copies(last.index.value, mark_of(last));
  world_.check(Rule::commit_on_majority, on_disks > world_.plan.nodes / 2, [&] {
    return node + " has committed " + spell(last.index.value, last.term) + ", which is on " +
           std::to_string(on_disks) + " disks";
  });
}

void Judge::commit(const raft::Entry& entry, raft::Term term) {
  committed_.push_back(mark_of(entry));
  committed_in_.push_back(term);
  if (!entry.command) return model_.apply(entry.index.value, nullptr);
  const std::optional<command::Command> command = command::decode(*entry.command);
  const std::vector<std::string> values = values_of(*command);
  check_refused(values);
  model_.apply(entry.index.value, &*command);
  if (model_.txn(entry.index.value) && !values.empty()) txn_positions_[values.front()] = entry.index.value;
  const auto& changes = model_.changes();
  for (std::size_t i = model_.first_change_after(entry.index.value - 1); i < changes.size(); ++i) {
    if (changes[i].value) positions_.emplace(*changes[i].value, entry.index.value);
  }
}

// A write has come into the log. If it was refused it must not have; and it is known by its first value.
void Judge::check_refused(const std::vector<std::string>& values) {
  if (!values.empty()) check_order(values.front());
  for (const std::string& value : values) {
    committed_values_.insert(value);
    world_.check(Rule::no_means_no, !refused_.contains(value),
                 [&] { return "the write of '" + value + "' was refused and is committed all the same"; });
  }
}

std::uint64_t Judge::position_of(const std::string& value) const {
  const auto found = positions_.find(value);
  return found == positions_.end() ? 0 : found->second;
}

std::uint64_t Judge::position_of_txn(const std::string& first_value) const {
  const auto found = txn_positions_.find(first_value);
  return found == txn_positions_.end() ? 0 : found->second;
}

// What the newly applied positions did is in the store as the model has it, and at some positions all of it is
// what the other servers have.
void Judge::check_store(const std::string& node, const Replica& replica, std::uint64_t before) {
  const std::uint64_t applied = replica.applied();
  for (std::uint64_t position = before + 1; position <= applied; ++position) {
    if (const Model::Effect* effect = model_.effect(position)) check_key(node, replica, effect->key);
    if (!model_.txn(position)) continue;
    for (const message::TxnOperation& operation : model_.txn(position)->done())
      check_key(node, replica, operation.key);
  }
  if (applied % digest_every != 0) return;
  const std::uint64_t digest = replica.store().digest();
  const auto [found, is_new] = digests_.emplace(applied, digest);
  if (is_new) return;
  world_.check(Rule::equal_digests, found->second == digest,
               [&] { return node + " holds another state at position " + std::to_string(applied); });
}

void Judge::check_key(const std::string& node, const Replica& replica, const std::string& key) {
  const Model::Version* version = model_.at(key, replica.applied());
  const Item* item = replica.store().find(key);
  const bool absent = !version || !version->value;
  const bool alike = absent ? !item : item && item->value() == version->value && item->ts() == version->position;
  world_.check(Rule::state_as_modelled, alike, [&] {
    return node + " has applied " + std::to_string(replica.applied()) + " and its key '" + key +
           "' is not what the log says";
  });
}

// ---- What servers tell each other

void Judge::sends(const std::string& node, const PeerMessage& message) {
  const auto* body = std::get_if<raft::Message>(&message.body);
  if (!body) return;
  std::visit([&](const auto& m) { check_promise(node, message.peer, m); }, *body);
}

// nullptr: none that still leads it.
const raft::Raft* Judge::leader_of(raft::Term term) const {
  const auto leader = leaders_.find(term);
  if (leader == leaders_.end()) return nullptr;
  const auto process = processes_.find(leader->second);
  if (process == processes_.end()) return nullptr;
  const raft::Raft& raft = process->second.replica->raft();
  return raft.leads() && raft.term() == term ? &raft : nullptr;
}

void Judge::note_vote(const Disk& disk, raft::Term term, const raft::NodeId& candidate) {
  const auto [found, is_new] = votes_.emplace(std::pair{identities_.at(disk.node), term}, candidate);
  world_.check(Rule::one_vote_a_term, is_new || found->second == candidate, [&] {
    return disk.node + " has voted for " + found->second.name + " and for " + candidate.name + " in term " +
           std::to_string(term.value);
  });
}

// Who asks for votes has voted for itself.
void Judge::check_promise(const std::string& node, const raft::NodeId&, const raft::VoteRequest& request) {
  if (request.pre) return;
  const Disk& disk = disk_of(node);
  const raft::HardState& durable = disk.durable.hard_state;
  const bool kept =
      durable.term > request.term || (durable.term == request.term && durable.vote == request.candidate);
  world_.check(Rule::durable_before_promised, kept, [&] {
    return node + " asks for votes in term " + std::to_string(request.term.value) + ", its disk has " +
           spell(durable);
  });
  note_vote(disk, request.term, request.candidate);
}

void Judge::check_promise(const std::string& node, const raft::NodeId& to, const raft::VoteReply& reply) {
  if (reply.pre || !reply.granted) return;
  const Disk& disk = disk_of(node);
  const raft::HardState& durable = disk.durable.hard_state;
  const bool kept = durable.term > reply.term || (durable.term == reply.term && durable.vote == to);
  world_.check(Rule::durable_before_promised, kept, [&] {
    return node + " votes for " + to.name + " in term " + std::to_string(reply.term.value) + ", its disk has " +
           spell(durable);
  });
  note_vote(disk, reply.term, to);
}

void Judge::check_promise(const std::string& node, const raft::NodeId&, const raft::AppendReply& reply) {
  if (!reply.success) return;
  const Log& durable = disk_of(node).durable;
  bool kept = durable.hard_state.term >= reply.term && durable.entries.size() >= reply.match.value;
  // And what it has is what the leader has, as long as this can be asked.
  const raft::Raft* leader = leader_of(reply.term);
  if (kept && leader && reply.match >= std::max(leader->log().base_index(), raft::Index(1))) {
    kept = leader->log().term_at(reply.match) == durable.entries[reply.match.value - 1].term;
  }
  world_.check(Rule::durable_before_promised, kept, [&] {
    return node + " acknowledges " + std::to_string(reply.match.value) + " in term " +
           std::to_string(reply.term.value) + ", its disk has " + spell(durable.hard_state) + ", " +
           std::to_string(durable.entries.size()) + " entries";
  });
}

// A server that knows the members hears no other identity under their names, least of all one that has lost its
// disk and with it its votes.
void Judge::received(const std::string& node, const Replica& replica, const std::string& from_node,
                     const std::string& from_identity) {
  const auto& bound = replica.roster().bound();
  if (!bound) return;
  const auto member = std::find_if(bound->members.begin(), bound->members.end(),
                                   [&](const command::Member& m) { return m.node == from_node; });
  world_.check(Rule::known_identity, member != bound->members.end() && member->identity == from_identity, [&] {
    return node + " hears " + from_node + " with the identity " + from_identity + ", which is not the member's";
  });
}

}  // namespace kv::sim

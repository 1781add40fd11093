#include "server/replica.hpp"

#include <absl/container/inlined_vector.h>

#include <algorithm>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "common/snapshot_format.hpp"
#include "server/raft/invariant.hpp"

namespace kv {
namespace {

constexpr std::size_t requests_looked_at_a_tick = 4096;  // for time-outs, on average
constexpr std::size_t entries_fetched = 1024;            // before the first of them is applied

std::vector<raft::NodeId> ids_of(const std::vector<std::string>& names) {
  std::vector<raft::NodeId> ids;
  for (const std::string& name : names) ids.emplace_back(name);
  return ids;
}

raft::Config raft_config(const ReplicaConfig& config) {
  raft::Config raft;
  raft.self = raft::NodeId(config.self.node);
  raft.voters = ids_of(config.names);
  raft.heartbeat_ticks = config.heartbeat_ticks;
  raft.election_ticks = config.election_ticks;
  raft.stands_first = config.preferred_leader == config.self.node;
  raft.guards_first_start = true;
  raft.seed = config.seed;
  raft.limits = config.raft_limits;
  return raft;
}

// A state without members comes from a backup, and no cluster has begun with it.
bool has_begun(const ReplicaRestored& restored) {
  return restored.stored.index == raft::Index{} || restored.store->members() || restored.lacks_state;
}

std::string seed_of(const ReplicaRestored& restored) {
  if (has_begun(restored)) return {};
  return std::to_string(restored.stored.index.value) + "-" +
         snapshot::digest_text(restored.store->content_digest());
}

command::Command decode_entry(const raft::Entry& entry) {
  std::optional<command::Command> command = command::decode(*entry.command);
  if (!command) {
    throw std::runtime_error("the log's entry " + std::to_string(entry.index.value) +
                             " is of a format that this version does not know: run the newer kvd that wrote it");
  }
  return std::move(*command);
}

}  // namespace

bool is_answer(const PeerMessage& message) {
  if (std::holds_alternative<message::ForwardOk>(message.body)) return true;
  if (std::holds_alternative<message::SnapshotOk>(message.body)) return true;
  const auto* raft_message = std::get_if<raft::Message>(&message.body);
  return raft_message && (std::holds_alternative<raft::VoteReply>(*raft_message) ||
                          std::holds_alternative<raft::AppendReply>(*raft_message));
}

Replica::Replica(ReplicaConfig config, ReplicaRestored restored)
    : config_(std::move(config)),
      roster_(config_.self, config_.names, config_.new_cluster, seed_of(restored)),
      raft_(raft_config(config_), {std::move(restored.hard_state), restored.base, restored.entries, restored.commit,
                                   std::move(restored.mark_due), restored.lacks_state, has_begun(restored)}),
      store_(restored.store ? std::move(restored.store) : std::make_unique<Store>(config_.sessions_kept)),
      next_number_((config_.seed >> 12) + 1),
      applied_(restored.stored.index),
      applied_term_(restored.stored.term),
      snapshot_(restored.stored),
      watches_(config_.self.node, config_.watch_limits) {
  watches_.reset(applied_.value, effects_.answers);
  if (store_->members()) {
    roster_.bind(*store_->members());
  } else {
    first_entry_ = applied_.next();
  }
  if (restored.context) {
    const std::optional<command::Command> command = command::decode(*restored.context);
    if (const auto* members = command ? std::get_if<command::Members>(&*command) : nullptr) roster_.bind(*members);
  }
  for (const raft::Entry& entry : restored.entries) {
    const bool binds = entry.index == first_entry_ || entry.index <= restored.commit;
    if (!binds || !entry.command) continue;
    const command::Command command = decode_entry(entry);
    if (const auto* members = std::get_if<command::Members>(&command)) {
      roster_.bind(*members);
    }
  }
  if (const auto& bound = roster_.bound()) {
    std::vector<std::string> names;
    for (const auto& member : bound->members) names.push_back(member.node);
    if (names != roster_.names()) {
      throw std::runtime_error("the data directory belongs to a cluster with other members than --cluster names");
    }
  }
  // What was known to be committed is applied before anyone can ask, and without --delay-replication.
  absorb(raft_.take_output());
  while (!to_apply_.empty()) {
    apply(to_apply_.front().entry);
    to_apply_.pop_front();
  }
}

// ---- Inputs

void Replica::tick() {
  ++now_;
  // Without it the core does not stand while its log is empty: an empty server must not elect itself past members
  // that it has not seen, one of which may hold the log that it lost.
  raft_.set_first_command(roster_.can_form() ? raft::Payload(command::encode(roster_.form())) : nullptr);
  raft_.tick();
  if (now_ >= next_deadline_) expire();
  look_at_room();
  look_at_disk();
  feed_snapshots();
  if (!waiting_backups_.empty()) serve_backups();
  if (question_ && now_ - question_->tick >= config_.election_ticks) ask_leader_again();
  if (raft_.leads()) {
    keep_members_current();
    keep_preferred_leader();
  }
}

void Replica::request(ClientId client, message::Request&& request) {
  if (stopping_) {
    refuse(client, request.id, message::Code::shutting_down,
           config_.self.node + " is stopping: try another server");
    return;
  }
  if (std::holds_alternative<message::Init>(request.body)) {
    init(client, request);
    return;
  }
  if (!request.cluster.empty() && request.cluster != roster_.cluster()) {
    if (roster_.cluster().empty() || raft_.commit() == raft::Index{}) {
      refuse(client, request.id, message::Code::no_leader,
             config_.self.node + " does not belong to a cluster yet: it waits for the other members");
      return;
    }
    answer_init(client, request.id, request.cluster);  // says CLUSTER_MISMATCH
    return;
  }
  if (const auto* put = std::get_if<message::Put>(&request.body)) {
    write(client, request, to_command(*put));
  } else if (const auto* del = std::get_if<message::Delete>(&request.body)) {
    write(client, request, to_command(*del));
  } else if (auto* asked = std::get_if<message::Get>(&request.body)) {
    read(client, request, std::move(*asked));
  } else if (auto* listed = std::get_if<message::List>(&request.body)) {
    read(client, request, std::move(*listed));
  } else if (const auto* txn = std::get_if<message::Txn>(&request.body)) {
    write(client, request, to_command(*txn));
  } else if (const auto* watched = std::get_if<message::Watch>(&request.body)) {
    watch(client, request, *watched);
  } else if (const auto* cancelled = std::get_if<message::Cancel>(&request.body)) {
    cancel(client, request, *cancelled);
  } else if (const auto* wanted = std::get_if<message::Backup>(&request.body)) {
    backup(client, request, *wanted);
  } else {
    answer(client, request.id, status());
  }
}

// All of it at once: what comes in later in this turn must find nothing that waits for the client.
void Replica::client_gone(ClientId client) {
  const auto found = clients_.find(client);
  if (found != clients_.end()) {
    for (const ParkKey& key : found->second.parked) parked_.erase(key);
    for (const std::uint64_t number : found->second.newer) forget_newer(number);
    if (found->second.backup) want(snapshot_task::Release{{"", client}});
    clients_.erase(found);
  }
  watches_.client_gone(client);
  std::erase_if(waiting_backups_, [&](const WaitingBackup& waiting) { return waiting.client == client; });
  std::erase_if(waiting_inits_, [&](const WaitingInit& waiting) { return waiting.client == client; });
  for (auto* reads : {&unplaced_, &asked_raft_, &asked_leader_}) {
    std::erase_if(*reads, [&](const auto& item) {
      const auto* read = std::get_if<ParkedRead>(&item.second.read);
      return read && read->client == client;
    });
  }
  // What it has asked to write and nobody has been sent yet is not sent any more.
  std::erase_if(queued_, [&](const QueuedWrite& queued) {
    const auto* origin = std::get_if<ForClient>(&queued.origin);
    return origin && origin->client == client;
  });
}

bool Replica::receive(PeerMessage message, const std::string& identity) {
  // Least of all is a server heard that has lost its disk, and with it its votes.
  if (roster_.is_impostor(message.peer.name, identity)) return false;
  if (auto* raft_message = std::get_if<raft::Message>(&message.body)) {
    raft_.receive(message.peer, *raft_message);
  } else if (auto* forward = std::get_if<message::Forward>(&message.body)) {
    receive_forward(message.peer, *forward);
  } else if (auto* part = std::get_if<message::Snapshot>(&message.body)) {
    receive_snapshot(message.peer, *part);
  } else if (auto* part_ok = std::get_if<message::SnapshotOk>(&message.body)) {
    receive_snapshot_ok(message.peer, *part_ok);
  } else {
    receive_forward_ok(message.peer, std::get<message::ForwardOk>(message.body));
  }
  return true;
}

void Replica::link_up(const message::PeerInitOk& answer) {
  roster_.reached(answer);
  raft_.link_changed(raft::NodeId(answer.node));
}

void Replica::link_down(const std::string& node) {
  roster_.lost(node);
  raft_.link_changed(raft::NodeId(node));
  stop_sending(node);
  fail_forwarded_to(node);
  if (question_ && question_->to.name == node) ask_leader_again();
}

void Replica::written(std::uint64_t write_id) {
  raft_.written(write_id);
  for (raft::Envelope& envelope : held_) effects_.send.push_back({envelope.peer, std::move(envelope.message)});
  held_.clear();
}

void Replica::stop() {
  stopping_ = true;
  const std::string text = config_.self.node + " is stopping: try another server";
  std::erase_if(queued_, [&](const QueuedWrite& queued) {
    // Peers wait for the next leader with theirs; a client can ask another server at once.
    if (std::holds_alternative<ForPeer>(queued.origin)) return false;
    fail_write(queued.origin, message::Code::shutting_down, text);
    return true;
  });
  for (const auto& [key, read] : parked_) refuse(read.client, read.id, message::Code::shutting_down, text);
  parked_.clear();
  for (const auto& [number, read] : newer_) refuse(read.client, read.id, message::Code::shutting_down, text);
  newer_.clear();
  newer_by_key_.clear();
  watches_.stop(effects_.answers);
  for (const WaitingInit& waiting : waiting_inits_) {
    refuse(waiting.client, waiting.id, message::Code::shutting_down, text);
  }
  waiting_inits_.clear();
  for (const WaitingBackup& waiting : waiting_backups_) {
    refuse(waiting.client, waiting.id, message::Code::shutting_down, text);
  }
  waiting_backups_.clear();
  for (auto& [id, client] : clients_) {
    client.parked.clear();
    client.newer.clear();
  }
  keep_preferred_leader();
}

bool Replica::is_quiet() const {
  if (!queued_.empty() || !proposed_.empty() || !forwarded_.empty()) return false;
  if (!raft_.leads()) return true;
  const auto& names = roster_.names();
  return std::none_of(names.begin(), names.end(), [this](const auto& name) { return roster_.is_reached(name); });
}

void Replica::abandon() {
  const std::string text = config_.self.node + " has stopped before it knew whether the write was done";
  for (const ProposedWrite& write : proposed_) fail_write(write.origin, message::Code::unknown_outcome, text);
  for (const auto& [number, write] : forwarded_) fail_write(write.origin, message::Code::unknown_outcome, text);
  proposed_.clear();
  forwarded_.clear();
  stop();
  for (auto* reads : {&unplaced_, &asked_raft_, &asked_leader_}) {
    for (const auto& [number, unplaced] : *reads) {
      if (const auto* read = std::get_if<ParkedRead>(&unplaced.read)) {
        refuse(read->client, read->id, message::Code::shutting_down, config_.self.node + " is stopping");
      }
    }
    reads->clear();
  }
}

// ---- Effects

Effects Replica::take_effects() {
  for (bool more = true; more;) {
    begin_saving();  // before writes are proposed that might have to wait for it
    route_writes();
    place_reads();
    raft::Output output = raft_.take_output();
    // What was applied, confirmed or lost may have made new work for the core.
    more = output.changed || !output.committed.empty() || !output.reads.empty() || !output.dropped_reads.empty();
    absorb(std::move(output));
    apply_due();
  }
  watches_.turn(effects_.answers);
  begin_saving();
  keep_saving();
  pending_answer_bytes_ = 0;
  result_bytes_ = 0;
  Effects effects = std::exchange(effects_, {});
  // As many are likely to come next; but room for what a thousand watchers get is not worth having each turn.
  effects_.answers.reserve(std::min<std::size_t>(effects.answers.size(), 64));
  return effects;
}

void Replica::absorb(raft::Output output) {
  if (output.write) {
    watch_first_entry(*output.write);
    effects_.write = std::move(output.write);
  }
  for (raft::Envelope& envelope : output.send) {
    effects_.send.push_back({envelope.peer, std::move(envelope.message)});
  }
  invariant(output.send_after.empty() || held_.empty(), "messages are held for one write at a time");
  if (!output.send_after.empty()) held_ = std::move(output.send_after);
  if (output.changed) on_changed(*output.changed);
  for (raft::Entry& entry : output.committed) {
    if (entry.command && command::is_members(*entry.command)) {
      const command::Command command = decode_entry(entry);
      if (const auto* members = std::get_if<command::Members>(&command)) note_members(*members);
    }
    to_apply_.push_back({std::move(entry), now_ + config_.delay_ticks});
  }
  for (const auto& safe : output.reads) {
    if (auto node = asked_raft_.extract(safe.id)) place(std::move(node.mapped()), safe.index.value);
  }
  for (const std::uint64_t number : output.dropped_reads) drop_read(number);
}

void Replica::on_changed(const raft::Output::Changed& changed) {
  const std::string term = " (term " + std::to_string(changed.term.value) + ")";
  if (changed.role == raft::Role::leader) {
    notice(Notice::Level::info, "now the leader" + term);
  } else if (!changed.leader.empty()) {
    notice(Notice::Level::info, "following " + changed.leader.name + term);
  } else if (!known_leader_.empty()) {
    notice(Notice::Level::info,
           (known_leader_.name == config_.self.node ? std::string("no longer the leader")
                                                    : "lost the leader " + known_leader_.name) +
               term);
  } else {
    notice(Notice::Level::debug, "no leader yet" + term);
  }
  known_leader_ = changed.leader;
  members_proposed_ = false;
  preferred_ready_ticks_ = 0;
  if (question_ && (changed.leader != question_->to || changed.term != question_->term)) ask_leader_again();
  if (changed.leader.empty()) return;
  const bool preferred_leads = changed.leader.name == config_.preferred_leader;
  if (preferred_leads) preferred_asked_ = false;
  if (!preferred_leads && last_leader_ != changed.leader && last_leader_.name == config_.preferred_leader) {
    note_preferred_loss();
  }
  last_leader_ = changed.leader;
}

void Replica::watch_first_entry(const raft::Write& write) {
  if (write.entries.empty() || write.entries.front().index != first_entry_) return;
  // Members count from the moment they are in the log, not only when they are committed (as configurations do:
  // dissertation §4.1). A new leader may replace an entry that was not.
  roster_.unbind();
  const raft::Entry& first = write.entries.front();
  if (!first.command) return;
  const command::Command command = decode_entry(first);
  if (const auto* members = std::get_if<command::Members>(&command)) roster_.bind(*members);
}

void Replica::note_members(const command::Members& members) {
  roster_.bind(members);
  members_proposed_ = false;
  for (const WaitingInit& waiting : std::exchange(waiting_inits_, {})) {
    answer_init(waiting.client, waiting.id, waiting.cluster);
  }
}

// Each is in memory that was not touched for long: looked for one right behind the other, they are waited for
// together.
std::size_t Replica::fetch_entries() {
  absl::InlinedVector<std::string_view, 64> keys;
  std::size_t count = 0;
  for (const Due& due : to_apply_) {
    if (due.tick > now_ || count == entries_fetched) break;
    const std::string_view key = due.entry.command ? command::key_of(*due.entry.command) : std::string_view();
    if (!key.empty()) keys.push_back(key);
    ++count;
  }
  store_->fetch_to_change(keys);
  return count;
}

// What is committed together may answer with far more than it has itself: transactions that read. What goes beyond
// one turn's part of that waits for the next, with all that is behind it.
void Replica::apply_due() {
  while (entry_is_due() && result_bytes_ < answer_bytes_a_turn) {
    for (std::size_t left = fetch_entries(); left > 0 && result_bytes_ < answer_bytes_a_turn; --left) {
      apply(to_apply_.front().entry);
      to_apply_.pop_front();
    }
  }
  wake_reads();
}

void Replica::apply(const raft::Entry& entry) {
  invariant(entry.index == applied_.next(), "entries are applied in order, each once");
  note_log(entry);
  if (entry.command) {
    const command::Command command = decode_entry(entry);
    Applied applied = store_->apply(entry.index.value, command);
    result_bytes_ += value_bytes(applied.outcome);
    note_changes(entry.index.value, std::move(applied.changes));
    settle_writes(entry, &command, &applied.outcome);
  } else {
    settle_writes(entry, nullptr, nullptr);
  }
  applied_ = entry.index;
  applied_term_ = entry.term;
}

void Replica::refuse(ClientId client, std::uint64_t id, message::Code code, std::string text) {
  answer(client, id, message::make_error(code, std::move(text)));
}

void Replica::notice(Notice::Level level, std::string text) {
  effects_.notices.push_back({level, std::move(text)});
}

std::uint64_t Replica::deadline_of(const std::optional<std::uint64_t>& timeout_ms) const {
  const std::uint64_t ticks = (timeout_ms.value_or(default_timeout_ms) + tick_ms - 1) / tick_ms;
  return now_ + ticks + 1;  // the current tick is partly over
}

void Replica::expire() {
  next_deadline_ = UINT64_MAX;  // what stays open says anew when it ends
  expire_writes();
  expire_reads();
  expire_backups();
  std::erase_if(waiting_inits_, [this](const WaitingInit& waiting) {
    if (waiting.deadline > now_) {
      expect(waiting.deadline);
      return false;
    }
    refuse(waiting.client, waiting.id, message::Code::no_leader,
           config_.self.node +
               " does not belong to a cluster yet: every member named in --cluster must be running once "
               "for the first start");
    return true;
  });
  next_deadline_ = std::max(next_deadline_, now_ + ticks_late());
}

// Looking through many takes a while: then a time-out may come a little late, and never costs much.
std::uint64_t Replica::ticks_late() const {
  return open_requests() / requests_looked_at_a_tick;
}

std::size_t Replica::open_requests() const {
  return queued_.size() + proposed_.size() + forwarded_.size() + waiting_reads() + waiting_inits_.size() +
         waiting_backups_.size();
}

}  // namespace kv

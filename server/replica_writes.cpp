// What clients write: waiting for a leader, proposing or forwarding, and the answer that fits what is known.
//
// A write is in exactly one of three places. Queued: it has left this server nowhere, so any 'no' is true.
// Proposed: it is in this server's log at a position; what is applied there decides. Forwarded: another
// server has it; only that server's answer decides, and where none comes the outcome is unknown.
#include <absl/container/inlined_vector.h>

#include <algorithm>
#include <utility>

#include "common/overloaded.hpp"
#include "server/raft/invariant.hpp"
#include "server/replica.hpp"

namespace kv {
namespace {

constexpr std::uint64_t told_ahead_ticks = 100 / tick_ms;

std::string key_of(const command::Command& command) {
  if (const auto* put = std::get_if<command::Put>(&command)) return std::string(put->key);
  const auto* del = std::get_if<command::Delete>(&command);
  return del ? std::string(del->key) : std::string();
}

using WriteAnswer = std::variant<message::PutOk, message::DeleteOk, message::TxnOk, message::Error>;

message::TxnOk to_message(const TxnDone& done) {
  message::TxnOk ok{done.ts, done.succeeded, {}};
  ok.results.reserve(done.results.size());
  for (const TxnResult& result : done.results) {
    ok.results.push_back({to_wire(result.what), result.key, result.value, result.ts, result.found});
  }
  return ok;
}

// A session may give one seq to two writes. The outcome is the first one's: it must not be told as the other's.
bool is_outcome_of(const command::Command& command, const Outcome& outcome) {
  using std::holds_alternative;
  if (holds_alternative<Written>(outcome)) return holds_alternative<command::Put>(command);
  if (holds_alternative<Deleted>(outcome)) return holds_alternative<command::Delete>(command);
  const bool of_txn = holds_alternative<TxnDone>(outcome) || holds_alternative<TxnTooLarge>(outcome);
  return holds_alternative<SessionExpired>(outcome) || of_txn == holds_alternative<command::Txn>(command);
}

WriteAnswer answer_of(const command::Command& command, const Outcome& outcome) {
  if (!is_outcome_of(command, outcome)) {
    return message::make_error(message::Code::bad_request,
                               "this session has given the same seq to a write of another kind before: nothing was "
                               "done; each write needs a seq of its own");
  }
  if (const auto* written = std::get_if<Written>(&outcome)) return message::PutOk{key_of(command), written->ts};
  if (const auto* deleted = std::get_if<Deleted>(&outcome)) {
    return message::DeleteOk{key_of(command), deleted->ts, deleted->found};
  }
  if (const auto* done = std::get_if<TxnDone>(&outcome)) return to_message(*done);
  if (std::holds_alternative<TxnTooLarge>(outcome)) {
    return message::make_error(
        message::Code::too_large,
        "the answer to this TXN would be longer than a frame of 4 MiB, so nothing of it was done: "
        "GET less in it");
  }
  if (const auto* conflict = std::get_if<Conflict>(&outcome)) {
    auto error = message::make_error(
        message::Code::conflict,
        conflict->current_ts == 0
            ? std::string("the key is absent: read it again and decide anew")
            : "the key's ts is " + std::to_string(conflict->current_ts) + ": read it again and decide anew");
    error.ts = conflict->current_ts;
    return error;
  }
  return message::make_error(
      message::Code::session_expired,
      "the cluster no longer remembers this session's answers: begin a new session, after reading "
      "whether the write was done");
}

// Whether it takes room on a disk that is full. What overwrites does too.
bool adds(const command::Command& command) {
  if (std::holds_alternative<command::Put>(command)) return true;
  const auto* txn = std::get_if<command::Txn>(&command);
  if (!txn) return false;
  const auto puts = [](const command::Operation& operation) {
    return operation.what == command::Operation::What::put;
  };
  return std::any_of(txn->then.begin(), txn->then.end(), puts) ||
         std::any_of(txn->otherwise.begin(), txn->otherwise.end(), puts);
}

command::Command decoded(const raft::Payload& payload) {
  std::optional<command::Command> command = command::decode(*payload);
  invariant(command.has_value(), "what this server has encoded it can decode");
  return std::move(*command);
}

}  // namespace

bool Replica::has_room_for(const raft::Payload& command) const {
  const std::size_t open = queued_.size() + proposed_.size() + forwarded_.size();
  return open < config_.limits.open_writes && open_write_bytes_ + command.size() <= config_.limits.open_write_bytes;
}

// A peer is told what came of its write before its own clock would have to guess.
std::uint64_t Replica::told_of_queue_at(const Origin& origin, std::uint64_t deadline) const {
  if (!std::holds_alternative<ForPeer>(origin)) return deadline;
  return deadline - std::min(deadline, told_ahead_ticks + ticks_late());
}

void Replica::enqueue(Origin origin, raft::Payload command, std::uint64_t deadline) {
  expect(told_of_queue_at(origin, deadline));
  OpenBytes open(open_write_bytes_, command.size());
  queued_.push_back({std::move(origin), std::move(command), deadline, std::move(open)});
}

void Replica::write(ClientId client, const message::Request& request, const command::Command& asked) {
  raft::Payload command = to_payload(asked);
  if (!has_room_for(command)) {
    refuse(client, request.id, message::Code::overloaded,
           config_.self.node + " has too many writes under way: try again, or another server");
    return;
  }
  enqueue(ForClient{client, request.id, next_number_++}, std::move(command), deadline_of(request.timeout_ms));
}

void Replica::receive_forward(const raft::NodeId& from, message::Forward& forward) {
  const ForPeer origin{from, forward.number};
  if (!raft_.leads() || forward.term != raft_.term().value) {
    fail_write(origin, message::Code::no_leader, config_.self.node + " does not lead");
    return;
  }
  const std::uint64_t deadline = deadline_of(forward.timeout_ms);
  if (std::holds_alternative<message::ReadIndex>(forward.request)) {
    expect(deadline);
    unplaced_.emplace(next_number_++, UnplacedRead{origin, deadline});
    return;
  }
  raft::Payload command =
      std::visit(Overloaded{[](const message::ReadIndex&) -> raft::Payload { return nullptr; },  // which it is not
                            [](const auto& write) { return to_payload(to_command(write)); }},
                 forward.request);
  if (!has_room_for(command)) {
    fail_write(origin, message::Code::overloaded, config_.self.node + " has too many writes under way: try again");
    return;
  }
  enqueue(origin, std::move(command), deadline);
}

std::optional<raft::NodeId> Replica::reachable_leader() const {
  raft::NodeId leader = raft_.leader();
  if (leader.empty() || raft_.leads() || !roster_.is_reached(leader.name)) return std::nullopt;
  if (leader == refused_by_ && raft_.term() == refused_in_) return std::nullopt;
  return leader;
}

void Replica::route_writes() {
  waits_for_log_ = false;
  if (queued_.empty()) return;
  if (raft_.leads()) {
    if (!raft_.transferring()) propose_queued();
    return;
  }
  // A peer's write is taken only by a leader: the peer finds the next one itself.
  std::erase_if(queued_, [this](const QueuedWrite& queued) {
    if (!std::holds_alternative<ForPeer>(queued.origin)) return false;
    fail_write(queued.origin, message::Code::no_leader, config_.self.node + " does not lead");
    return true;
  });
  if (const auto leader = reachable_leader()) forward_queued(*leader);
}

// As many of those that have waited longest as the log takes now; the last of them may go beyond that.
std::size_t Replica::count_proposable() {
  std::size_t bytes = 0;
  std::size_t count = 0;
  while (count < queued_.size() && log_takes_more(bytes)) bytes += raft::bytes_of(queued_[count++].command);
  waits_for_log_ = count < queued_.size();
  return count;
}

// What growth_of() looks for, of writes of one key.
void Replica::fetch_queued(std::size_t count) const {
  if (config_.quota == 0) return;
  absl::InlinedVector<std::string_view, 64> keys;
  for (std::size_t i = 0; i < count; ++i) {
    if (const std::string_view key = command::key_of(*queued_[i].command); !key.empty()) keys.push_back(key);
  }
  store_->fetch_to_find(keys);
}

void Replica::propose_queued() {
  std::vector<raft::Payload> commands;
  std::vector<QueuedWrite> taken;
  std::vector<OpenBytes> growths;
  const std::size_t count = count_proposable();
  fetch_queued(count);
  for (std::size_t i = 0; i < count; ++i) {
    QueuedWrite& queued = queued_[i];
    const command::Command command = decoded(queued.command);
    const std::uint64_t growth = config_.quota == 0 ? 0 : growth_of(command);
    if (adds(command) && !may_add()) {
      fail_write(queued.origin, message::Code::no_space,
                 what_has_no_room() +
                     ": make room there; deleting keys helps if a snapshot of the rest fits beside "
                     "the log; reads and deletes still work");
      continue;
    }
    if (growth > 0 && store_->bytes() + growth_ + growth > config_.quota) {
      fail_write(queued.origin, message::Code::no_space,
                 "the data would be more than the quota of " + std::to_string(config_.quota) +
                     " bytes: delete keys, or raise --quota; reads and deletes still work");
      continue;
    }
    growths.emplace_back(growth_, growth);
    commands.push_back(queued.command);
    taken.push_back(std::move(queued));
  }
  queued_.erase(queued_.begin(), queued_.begin() + static_cast<std::ptrdiff_t>(count));
  if (saving_) {
    for (const raft::Payload& command : commands) saving_->pace.took(raft::bytes_of(command));
  }
  if (commands.empty()) return;
  const std::optional<raft::Index> first = raft_.propose(std::move(commands));
  invariant(first.has_value(), "a leader that is not handing over takes proposals");
  for (std::size_t i = 0; i < taken.size(); ++i) {
    if (const auto* client = std::get_if<ForClient>(&taken[i].origin)) {
      clients_[client->client].last_routed = client->order;
    }
    note_proposed({{*first + i, raft_.term()},
                   std::move(taken[i].origin),
                   std::move(taken[i].command),
                   taken[i].deadline,
                   std::move(taken[i].open),
                   std::move(growths[i])});
  }
}

// Nearly always it is the last: what an earlier term of this server had at higher positions may not have its fate
// yet.
void Replica::note_proposed(ProposedWrite write) {
  const auto is_before = [](const raft::Position& position, const ProposedWrite& other) {
    return position < other.position;
  };
  const auto place = std::upper_bound(proposed_.begin(), proposed_.end(), write.position, is_before);
  proposed_.insert(place, std::move(write));
}

void Replica::forward_queued(const raft::NodeId& leader) {
  for (QueuedWrite& queued : std::exchange(queued_, {})) {
    const ForClient origin = std::get<ForClient>(queued.origin);
    clients_[origin.client].last_routed = origin.order;
    message::Forward forward;
    forward.number = next_number_++;
    forward.term = raft_.term().value;
    forward.timeout_ms = queued.deadline > now_ ? (queued.deadline - now_) * tick_ms : tick_ms;
    forward.request = to_forward(decoded(queued.command));
    forwarded_.emplace(forward.number, ForwardedWrite{origin, leader, raft_.term(), std::move(queued.command),
                                                      queued.deadline, std::move(queued.open)});
    effects_.send.push_back({leader, std::move(forward)});
  }
}

// The entry is applied: whatever was proposed at its position now has its fate.
void Replica::settle_writes(const raft::Entry& entry, const command::Command* command, const Outcome* outcome) {
  growth_in_log_.erase(growth_in_log_.begin(), growth_in_log_.upper_bound(entry.index));
  while (!proposed_.empty() && proposed_.front().position.index <= entry.index) {
    ProposedWrite write = std::move(proposed_.front());
    proposed_.pop_front();
    if (write.position == raft::Position{entry.index, entry.term}) {
      invariant(command != nullptr, "a position of one term holds what was proposed there");
      answer_write(write.origin, *command, *outcome);
      continue;
    }
    // Another leader's entry is committed at this position: the write is not in the log and never will be.
    if (const auto* client = std::get_if<ForClient>(&write.origin)) {
      route_again(*client, std::move(write.command), write.deadline, std::move(write.open));
    } else {
      fail_write(write.origin, message::Code::no_leader, "leadership changed before the write was replicated");
    }
  }
}

// The write is certainly in no log. It may be tried again unless a later write of its connection has been
// sent on already: the two must not enter the log in the wrong order.
void Replica::route_again(const ForClient& origin, raft::Payload command, std::uint64_t deadline, OpenBytes open) {
  const auto client = clients_.find(origin.client);
  if (client == clients_.end()) return;  // gone: nobody waits for it
  if (client->second.last_routed != origin.order) {
    fail_write(origin, message::Code::no_leader,
               "leadership changed before the write was replicated; it was not applied: send it again");
    return;
  }
  if (stopping_) {
    fail_write(origin, message::Code::shutting_down, config_.self.node + " is stopping: try another server");
    return;
  }
  expect(deadline);
  // It is older than all that this connection has queued since.
  queued_.push_front({origin, std::move(command), deadline, std::move(open)});
}

// Only an answer to what was really asked says anything, and only of the term in which it was asked.
void Replica::note_refusal(const raft::NodeId& by, raft::Term term) {
  refused_by_ = by;
  refused_in_ = term;
}

void Replica::receive_forward_ok(const raft::NodeId& from, message::ForwardOk& answer_ok) {
  const auto* error = std::get_if<message::Error>(&answer_ok.answer);
  const bool not_leader = error && error->code == message::Code::no_leader;
  if (question_ && question_->number == answer_ok.number && question_->to == from) {
    if (not_leader) note_refusal(from, question_->term);
    const auto* index = std::get_if<message::ReadIndexOk>(&answer_ok.answer);
    if (!index) {
      ask_leader_again();
      return;
    }
    question_.reset();
    for (auto& [number, read] : std::exchange(asked_leader_, {})) place(std::move(read), index->index);
    return;
  }
  auto node = forwarded_.extract(answer_ok.number);
  if (node.empty()) return;  // answered already, when its time was over
  ForwardedWrite& write = node.mapped();
  if (write.to != from) {
    forwarded_.insert(std::move(node));
    return;
  }
  if (not_leader) {
    note_refusal(from, write.term);
    route_again(write.origin, std::move(write.command), write.deadline, std::move(write.open));
  } else if (auto* put_ok = std::get_if<message::PutOk>(&answer_ok.answer)) {
    answer(write.origin.client, write.origin.id, std::move(*put_ok));
  } else if (auto* delete_ok = std::get_if<message::DeleteOk>(&answer_ok.answer)) {
    answer(write.origin.client, write.origin.id, std::move(*delete_ok));
  } else if (auto* txn_ok = std::get_if<message::TxnOk>(&answer_ok.answer)) {
    answer(write.origin.client, write.origin.id, std::move(*txn_ok));
  } else if (error) {
    answer(write.origin.client, write.origin.id, *error);
  } else {
    fail_write(write.origin, message::Code::unknown_outcome, from.name + " gave an answer that is not to a write");
  }
}

void Replica::answer_write(const Origin& origin, const command::Command& command, const Outcome& outcome) {
  WriteAnswer body = answer_of(command, outcome);
  if (const auto* client = std::get_if<ForClient>(&origin)) {
    std::visit([&](auto& b) { answer(client->client, client->id, std::move(b)); }, body);
    return;
  }
  const auto& peer = std::get<ForPeer>(origin);
  message::ForwardOk ok;
  ok.number = peer.number;
  std::visit([&](auto& b) { ok.answer = std::move(b); }, body);
  effects_.send.push_back({peer.peer, std::move(ok)});
}

void Replica::fail_write(const Origin& origin, message::Code code, std::string text) {
  if (const auto* client = std::get_if<ForClient>(&origin)) {
    refuse(client->client, client->id, code, std::move(text));
    return;
  }
  const auto& peer = std::get<ForPeer>(origin);
  message::ForwardOk ok;
  ok.number = peer.number;
  ok.answer = message::make_error(code, std::move(text));
  effects_.send.push_back({peer.peer, std::move(ok)});
}

void Replica::fail_forwarded_to(const std::string& node) {
  std::erase_if(forwarded_, [&](const auto& item) {
    const ForwardedWrite& write = item.second;
    if (write.to.name != node) return false;
    fail_write(write.origin, message::Code::unknown_outcome,
               "the connection to " + node +
                   ", to whom the write was forwarded, broke before it answered: read the "
                   "key to see whether it was done");
    return true;
  });
}

void Replica::expire_writes() {
  for (ProposedWrite& write : proposed_) {
    if (write.deadline <= now_) growth_in_log_.emplace(write.position.index, std::move(write.growth));
  }
  const auto stays = [this](std::uint64_t deadline) {
    if (deadline <= now_) return false;
    expect(deadline);
    return true;
  };
  const bool wait_for_log = waits_for_log_ && raft_.leads();
  std::erase_if(queued_, [&](const QueuedWrite& queued) {
    const std::uint64_t told_at = told_of_queue_at(queued.origin, queued.deadline);
    if ((wait_for_log ? told_at : queued.deadline) > now_) {
      expect(told_at);
      return false;
    }
    if (wait_for_log) {
      fail_write(
          queued.origin, message::Code::overloaded,
          "the log of the leader, " + config_.self.node +
              ", was full for all this time, until a snapshot is whole: try again, and write less at a time");
      return true;
    }
    // A peer's own client has been answered by its own clock; a NO_LEADER would say that this server leads no more.
    if (std::holds_alternative<ForPeer>(queued.origin)) return true;
    fail_write(queued.origin, message::Code::no_leader,
               config_.self.node + " found no leader in time: " + why_no_leader());
    return true;
  });
  const std::string unknown = "the write was not confirmed in time and may still be done: read the key to see";
  std::erase_if(proposed_, [&](const ProposedWrite& write) {
    if (stays(write.deadline)) return false;
    fail_write(write.origin, message::Code::unknown_outcome, unknown);
    return true;
  });
  std::erase_if(forwarded_, [&](const auto& item) {
    if (stays(item.second.deadline)) return false;
    fail_write(item.second.origin, message::Code::unknown_outcome, unknown);
    return true;
  });
}

}  // namespace kv

#include "tests/sim/describe.hpp"

#include "common/overloaded.hpp"

namespace kv::sim {
namespace {

std::string text(std::uint64_t number) {
  return std::to_string(number);
}

std::string brief(const std::string& value) {
  return value.size() <= 24 ? value : value.substr(0, 16) + "… (" + text(value.size()) + " bytes)";
}

std::string place(raft::Index index, raft::Term term) {
  return text(index.value) + "/" + text(term.value);
}

std::string describe(const raft::Message& message) {
  return std::visit(
      Overloaded{
          [](const raft::VoteRequest& m) {
            return "VOTE term " + text(m.term.value) + " last " + place(m.last_index, m.last_term) +
                   (m.pre ? " pre" : "") + (m.transfer ? " transfer" : "");
          },
          [](const raft::VoteReply& m) {
            return "VOTE_OK term " + text(m.term.value) + (m.granted ? " granted" : " refused") +
                   (m.pre ? " pre" : "");
          },
          [](const raft::AppendRequest& m) {
            std::string entries;
            if (!m.entries.empty()) {
              entries = " entries " + place(m.entries.front().index, m.entries.front().term) + " to " +
                        place(m.entries.back().index, m.entries.back().term);
            }
            return "REPLICATION term " + text(m.term.value) + " prev " + place(m.prev_index, m.prev_term) +
                   entries + " commit " + text(m.commit.value) + " round " + text(m.round);
          },
          [](const raft::AppendReply& m) {
            const std::string round = " round " + text(m.round);
            if (m.success)
              return "REPLICATION_OK term " + text(m.term.value) + " match " + text(m.match.value) + round;
            return "REPLICATION_OK term " + text(m.term.value) + " refused " + text(m.rejected.value) + " hint " +
                   place(m.hint_index, m.hint_term) + round;
          },
          [](const raft::TimeoutNow& m) { return "TIMEOUT_NOW term " + text(m.term.value); },
      },
      message);
}

std::string describe_body(const message::Put& put) {
  return "PUT " + put.key + " = " + brief(put.value) + (put.if_ts ? " if_ts " + text(*put.if_ts) : "") +
         (put.session ? " seq " + text(put.session->seq) + " of " + put.session->session : "");
}
std::string describe_body(const message::Delete& del) {
  return "DELETE " + del.key + (del.if_ts ? " if_ts " + text(*del.if_ts) : "") +
         (del.session ? " seq " + text(del.session->seq) + " of " + del.session->session : "");
}
std::string describe_body(const message::Get& get) {
  return "GET " + get.key + " ts " + text(get.ts) + " " + std::string(message::name_of(get.consistency)) +
         (get.newer_than ? " newer than " + text(*get.newer_than) : "");
}
std::string describe_body(const message::List& list) {
  return "LIST " + list.prefix + (list.after.empty() ? "" : " after " + list.after) +
         (list.limit ? " limit " + text(*list.limit) : "") + (list.keys_only ? " keys only" : "") + " ts " +
         text(list.ts) + " " + std::string(message::name_of(list.consistency));
}
std::string describe_operations(const std::vector<message::TxnOperation>& operations) {
  std::string out;
  for (const message::TxnOperation& operation : operations) {
    out += " " + std::string(message::name_of(operation.op)) + " " + operation.key +
           (operation.value ? " = " + brief(*operation.value) : "");
  }
  return out;
}
std::string describe_body(const message::Txn& txn) {
  std::string out = "TXN if";
  for (const message::TxnCondition& condition : txn.conditions) {
    out += " " + condition.key + " at " + text(condition.ts);
  }
  return out + " then" + describe_operations(txn.then) + " else" + describe_operations(txn.otherwise) +
         (txn.session ? " seq " + text(txn.session->seq) + " of " + txn.session->session : "");
}
std::string describe_body(const message::Watch& watch) {
  return "WATCH " + (watch.key ? "key " + *watch.key : "prefix " + watch.prefix.value_or("")) +
         (watch.from_ts ? " from " + text(*watch.from_ts) : "");
}
std::string describe_body(const message::Cancel& cancel) {
  return "CANCEL " + text(cancel.watch);
}
std::string describe_body(const message::Init&) {
  return "INIT";
}
std::string describe_body(const message::Status&) {
  return "STATUS";
}
std::string describe_body(const message::Backup& asked) {
  return "BACKUP " + text(asked.snapshot) + " from " + text(asked.offset);
}
std::string describe_body(const message::BackupOk& ok) {
  return "BACKUP_OK " + text(ok.snapshot) + " from " + text(ok.offset) + " of " + text(ok.size);
}
std::string describe_body(const message::ReadIndex&) {
  return "READ_INDEX";
}
std::string describe_body(const message::ReadIndexOk& ok) {
  return "READ_INDEX_OK " + text(ok.index);
}
std::string describe_body(const message::InitOk& ok) {
  return "INIT_OK applied " + text(ok.applied);
}
std::string describe_body(const message::PutOk& ok) {
  return "PUT_OK " + ok.key + " ts " + text(ok.ts);
}
std::string describe_body(const message::DeleteOk& ok) {
  return "DELETE_OK " + ok.key + " ts " + text(ok.ts) + (ok.found ? "" : " was absent");
}
std::string describe_body(const message::GetOk& ok) {
  return "GET_OK " + ok.key + " = " + (ok.value ? brief(*ok.value) + " ts " + text(ok.ts) : "absent") +
         " applied " + text(ok.applied);
}
std::string describe_body(const message::WaitForResponse& wait) {
  return "WAIT_FOR_RESPONSE " + wait.key + " ts " + text(wait.ts) + " applied " + text(wait.applied);
}
std::string describe_body(const message::ListOk& ok) {
  std::string out = "LIST_OK";
  for (const message::ListItem& item : ok.items) {
    out += " " + item.key + (item.value ? " = " + brief(*item.value) : "") + " ts " + text(item.ts);
  }
  return out + (ok.more ? " and more" : "") + " applied " + text(ok.applied);
}
std::string describe_body(const message::TxnOk& ok) {
  std::string out = "TXN_OK ts " + text(ok.ts) + (ok.succeeded ? " then" : " else");
  for (const message::TxnResult& result : ok.results) {
    out += " " + std::string(message::name_of(result.op)) + " " + result.key +
           (result.value ? " = " + brief(*result.value) : "") + " ts " + text(result.ts);
  }
  return out;
}
std::string describe_body(const message::WatchOk& ok) {
  return "WATCH_OK applied " + text(ok.applied);
}
std::string describe_body(const message::Event& event) {
  return "EVENT " + std::string(message::name_of(event.op)) + " " + event.key +
         (event.value ? " = " + brief(*event.value) : "") + " ts " + text(event.ts) +
         (event.more ? " and more" : "");
}
std::string describe_body(const message::SharedEvent& shared) {
  message::Event event = shared.once->event;
  event.more = shared.more;
  return describe_body(event);
}
std::string describe_body(const message::CancelOk& ok) {
  return "CANCEL_OK " + text(ok.watch) + (ok.found ? "" : " was not there");
}
std::string describe_body(const message::StatusOk& ok) {
  return "STATUS_OK " + ok.role;
}
std::string describe_body(const message::Error& error) {
  return "ERROR " + std::string(message::name_of(error.code)) + " (" + error.message + ")";
}

}  // namespace

std::string describe(const raft::Write& write) {
  std::string out = "batch " + text(write.id);
  if (write.hard_state) {
    const std::string& vote = write.hard_state->vote.name;
    out += " term " + text(write.hard_state->term.value) + (vote.empty() ? " no vote" : " vote for " + vote);
  }
  if (write.snapshot) {
    out += " snapshot " + place(write.snapshot->position.index, write.snapshot->position.term) +
           (write.snapshot->resets_log ? ", where the log begins anew" : "");
  }
  if (!write.entries.empty()) {
    out += " entries " + place(write.entries.front().index, write.entries.front().term) + " to " +
           place(write.entries.back().index, write.entries.back().term);
  }
  return out;
}

std::string describe(const PeerMessage& message) {
  return std::visit(Overloaded{
                        [](const raft::Message& m) { return describe(m); },
                        [](const message::Forward& m) {
                          return "FORWARD " + text(m.number) + " term " + text(m.term) + ": " +
                                 std::visit([](const auto& body) { return describe_body(body); }, m.request);
                        },
                        [](const message::ForwardOk& m) {
                          return "FORWARD_OK " + text(m.number) + ": " +
                                 std::visit([](const auto& body) { return describe_body(body); }, m.answer);
                        },
                        [](const message::Snapshot& m) {
                          return "SNAPSHOT term " + text(m.term) + " of " + text(m.index) + " from " +
                                 text(m.offset) + " of " + text(m.size);
                        },
                        [](const message::SnapshotOk& m) {
                          return "SNAPSHOT_OK term " + text(m.term) + " of " + text(m.index) + " wants " +
                                 text(m.offset) + (m.damaged ? ", damaged" : "");
                        },
                    },
                    message.body);
}

std::string describe(const message::Request& request) {
  return "#" + text(request.id) + " " +
         std::visit([](const auto& body) { return describe_body(body); }, request.body);
}

std::string describe(const message::Answer& answer) {
  return "#" + text(answer.id.value_or(0)) + " " +
         std::visit([](const auto& body) { return describe_body(body); }, answer.body);
}

void mix_into(TraceHash& hash, const PeerMessage& message) {
  hash.mix(message.body.index());
  if (const auto* part = std::get_if<message::Snapshot>(&message.body)) hash.mix(part->index + part->offset);
  const auto* body = std::get_if<raft::Message>(&message.body);
  if (!body) return;
  hash.mix(body->index());
  std::visit([&](const auto& m) { hash.mix(m.term.value); }, *body);
  if (const auto* append = std::get_if<raft::AppendRequest>(body)) {
    hash.mix(append->prev_index.value);
    hash.mix(append->entries.size());
    hash.mix(append->commit.value);
  } else if (const auto* reply = std::get_if<raft::AppendReply>(body)) {
    hash.mix(reply->match.value + reply->round);
  }
}

void mix_into(TraceHash& hash, const message::Answer& answer) {
  hash.mix(answer.id.value_or(0));
  hash.mix(answer.body.index());
  if (const auto* ok = std::get_if<message::PutOk>(&answer.body)) hash.mix(ok->ts);
  if (const auto* ok = std::get_if<message::GetOk>(&answer.body)) hash.mix(ok->ts + ok->applied);
  if (const auto* ok = std::get_if<message::TxnOk>(&answer.body)) hash.mix(ok->ts + ok->results.size());
  if (const auto* ok = std::get_if<message::ListOk>(&answer.body)) hash.mix(ok->applied + ok->items.size());
  if (const auto* event = std::get_if<message::SharedEvent>(&answer.body)) hash.mix(event->once->event.ts);
}

}  // namespace kv::sim

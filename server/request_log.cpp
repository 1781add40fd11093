#include "server/request_log.hpp"

#include <spdlog/spdlog.h>

#include <string>
#include <variant>

#include "common/overloaded.hpp"
#include "common/text.hpp"

namespace kv {
namespace {

bool is_shown() {
  return spdlog::should_log(spdlog::level::debug);
}

std::string quoted(const std::string& key) {
  return "\"" + escape_control(key, 64) + "\"";
}

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

std::string describe(const message::Txn& txn) {
  return "TXN of " + number(txn.conditions.size()) + " conditions, " + number(txn.then.size()) + " or " +
         number(txn.otherwise.size()) + " operations";
}

std::string describe(const message::Event& event) {
  return "EVENT " + std::string(name_of(event.op)) + " " + quoted(event.key) + ", ts " + number(event.ts);
}

std::string describe(const message::Request& request, const Replica& replica) {
  return std::visit(Overloaded{[](const message::Init& m) { return "INIT from " + escape_control(m.client, 64); },
                               [](const message::Put& m) {
                                 return "PUT " + quoted(m.key) + ", " + number(m.value.size()) + " bytes";
                               },
                               [](const message::Delete& m) { return "DELETE " + quoted(m.key); },
                               [&](const message::Get& m) {
                                 return "GET " + quoted(m.key) + ", " + std::string(name_of(m.consistency)) +
                                        ": the client's ts " + number(m.ts) + ", ours " + number(replica.applied());
                               },
                               [&](const message::List& m) {
                                 return "LIST " + quoted(m.prefix) + " after " + quoted(m.after) + ", " +
                                        std::string(name_of(m.consistency)) + ": the client's ts " + number(m.ts) +
                                        ", ours " + number(replica.applied());
                               },
                               [](const message::Txn& m) { return describe(m); },
                               [](const message::Watch& m) {
                                 return "WATCH " + (m.key ? quoted(*m.key) : quoted(m.prefix.value_or("")) + "…") +
                                        (m.from_ts ? " from " + number(*m.from_ts) : std::string());
                               },
                               [](const message::Cancel& m) { return "CANCEL of " + number(m.watch); },
                               [](const message::Status&) { return std::string("STATUS"); },
                               [](const message::Backup& m) {
                                 return m.snapshot == 0
                                            ? std::string("BACKUP of now")
                                            : "BACKUP of " + number(m.snapshot) + " from byte " + number(m.offset);
                               }},
                    request.body);
}

std::string describe(const message::Answer& answer) {
  return std::visit(
      Overloaded{
          [](const message::InitOk& m) { return "INIT_OK, leader " + (m.leader.empty() ? "unknown" : m.leader); },
          [](const message::PutOk& m) { return "PUT_OK " + quoted(m.key) + ", ts " + number(m.ts); },
          [](const message::DeleteOk& m) { return "DELETE_OK " + quoted(m.key) + ", ts " + number(m.ts); },
          [](const message::GetOk& m) {
            return "GET_OK " + quoted(m.key) + (m.value ? ", ts " + number(m.ts) : ", absent") + ", applied " +
                   number(m.applied);
          },
          [](const message::WaitForResponse& m) {
            return "WAIT_FOR_RESPONSE " + quoted(m.key) + ": applied " + number(m.applied) + ", asked for " +
                   number(m.ts);
          },
          [](const message::ListOk& m) {
            return "LIST_OK, " + number(m.items.size()) + " items" + (m.more ? " and more" : "") + ", applied " +
                   number(m.applied);
          },
          [](const message::TxnOk& m) {
            return "TXN_OK, " + std::string(m.succeeded ? "then" : "else") + ", ts " + number(m.ts);
          },
          [](const message::WatchOk& m) { return "WATCH_OK, applied " + number(m.applied); },
          [](const message::Event& m) { return describe(m); },
          [](const message::SharedEvent& m) { return describe(m.once->event); },
          [](const message::CancelOk& m) { return "CANCEL_OK of " + number(m.watch); },
          [](const message::StatusOk&) { return std::string("STATUS_OK"); },
          [](const message::BackupOk& m) {
            return "BACKUP_OK of " + number(m.snapshot) + ", " + number(m.bytes.size()) + " bytes from " +
                   number(m.offset) + " of " + number(m.size);
          },
          [](const message::Error& m) { return "ERROR " + std::string(name_of(m.code)) + ": " + m.message; }},
      answer.body);
}

std::string describe(const raft::Message& message) {
  return std::visit(Overloaded{[](const raft::VoteRequest& m) {
                                 return std::string("VOTE") + (m.pre ? " (question)" : "") + ", term " +
                                        number(m.term.value);
                               },
                               [](const raft::VoteReply& m) {
                                 return std::string("VOTE_OK") + (m.granted ? ", granted" : ", refused") +
                                        ", term " + number(m.term.value);
                               },
                               [](const raft::AppendRequest& m) {
                                 if (m.entries.empty())
                                   return "REPLICATION, heartbeat, commit " + number(m.commit.value);
                                 return "REPLICATION of " + number(m.entries.front().index.value) + " to " +
                                        number(m.entries.back().index.value) + ", commit " + number(m.commit.value);
                               },
                               [](const raft::AppendReply& m) {
                                 return m.success ? "REPLICATION_OK, match " + number(m.match.value)
                                                  : "REPLICATION_OK, no match at " + number(m.rejected.value);
                               },
                               [](const raft::TimeoutNow&) { return std::string("TIMEOUT_NOW"); }},
                    message);
}

std::string describe(const PeerMessage& message) {
  return std::visit(
      Overloaded{[](const raft::Message& m) { return describe(m); },
                 [](const message::Forward& m) {
                   return std::visit(
                       Overloaded{[](const message::Put& put) { return "FORWARD PUT " + quoted(put.key); },
                                  [](const message::Delete& del) { return "FORWARD DELETE " + quoted(del.key); },
                                  [](const message::Txn& txn) { return "FORWARD " + describe(txn); },
                                  [](const message::ReadIndex&) {
                                    return std::string("FORWARD of a linearizable read's question");
                                  }},
                       m.request);
                 },
                 [](const message::ForwardOk&) { return std::string("FORWARD_OK"); },
                 [](const message::Snapshot& m) {
                   return "SNAPSHOT of " + number(m.index) + ", " + number(m.bytes.size()) + " bytes from " +
                          number(m.offset) + " of " + number(m.size);
                 },
                 [](const message::SnapshotOk& m) {
                   return "SNAPSHOT_OK of " + number(m.index) + ", wants byte " + number(m.offset);
                 }},
      message.body);
}

}  // namespace

void log_request(const Connection& client, const message::Request& request, const Replica& replica) {
  if (is_shown()) spdlog::debug("{} -> {}", client.remote(), describe(request, replica));
}

void log_answer(const Connection& client, const message::Answer& answer) {
  if (is_shown()) spdlog::debug("{} <- {}", client.remote(), describe(answer));
}

void log_sent(const PeerMessage& message) {
  if (is_shown()) spdlog::debug("{} <- {}", message.peer.name, describe(message));
}

void log_received(const PeerMessage& message) {
  if (is_shown()) spdlog::debug("{} -> {}", message.peer.name, describe(message));
}

}  // namespace kv

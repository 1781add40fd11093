// The members of every message, written down once for both directions. Private to common/message_*.cpp.
//
// `describe(visitor, message)` calls the visitor for each member in the order of the wire. The encoder's
// visitor writes the member; the decoder's looks for the one whose name has just been read, and at the
// object's end for those that were missing; a third one (message_usual.hpp) expects them in this very order. A
// visitor has:
//
//   required(name, field, rule)   must be there; always written
//   standard(name, field, rule)   always written; one that is missing keeps the struct's default
//   optional(name, field, rule)   written only if it differs from its type's default
//   constant(name, value, fault)  must be there and have this value, else `fault` says what is wrong
//   refused(name, value, fault)   never written; must not have this value
//   value(field)                  the bytes of a value: "value" or "value_base64"; null for an empty optional
//   value_if_any(field)           the same, but written only if there is one
//   demand(holds, fault)          of the whole object, when it has come: `fault` says what is wrong if it does not
//   group(field)                  members of an optional struct, on the same level: all of them or none
//
// A field is a number, bool, string, enum, an optional of these, a vector of described structs, or a variant of
// described structs, which travels as an object that begins with its "type".
#pragma once

#include <concepts>
#include <cstdint>
#include <optional>
#include <string_view>
#include <type_traits>
#include <variant>

#include "common/message.hpp"
#include "common/message_names.hpp"

namespace kv::message {

// What a field's type alone does not say.
enum class Rule {
  none,
  key,     // 1 to max_key_bytes
  prefix,  // at most max_key_bytes
  uuid,
  at_least_one,  // not 0
  timeout,       // a longer one is cut to max_timeout_ms
  operations,    // a list of at most max_txn_operations
};

// T or const T: one describe() for reading and writing.
template <class T, class... Message>
concept Is = (std::same_as<std::remove_const_t<T>, Message> || ...);
// The same, whose texts are its own or kept elsewhere.
template <class T, template <class> class MessageOf>
concept IsA = Is<T, MessageOf<std::string>, MessageOf<std::string_view>>;

template <class Text>
using CommandOf = decltype(LogEntryOf<Text>::command);
using ForwardRequest = decltype(Forward::request);
using ForwardAnswer = decltype(ForwardOk::answer);
using RequestBody = decltype(Request::body);
using AnswerBody = decltype(Answer::body);

// The members of the alternative that a variant holds.
template <class Visitor>
void describe_alternative(Visitor& v, auto& variant) {
  std::visit([&v](auto& alternative) { describe(v, alternative); }, variant);
}

// ---- Requests ------------------------------------------------------------------------------------------

template <class Visitor>
void describe(Visitor& v, IsA<WriteSessionOf> auto& m) {
  v.required("session", m.session, Rule::uuid);
  v.required("seq", m.seq, Rule::at_least_one);
  v.optional("session_from", m.session_from);
}

template <class Visitor>
void describe(Visitor& v, Is<Init> auto& m) {
  v.refused("role", "peer", "an INIT with \"role\":\"peer\" is a server's: servers connect to the peer listener");
  v.required("protocol", m.protocol);
  v.standard("client", m.client);
}

template <class Visitor>
void describe(Visitor& v, IsA<PutOf> auto& m) {
  v.required("key", m.key, Rule::key);
  v.value(m.value);
  v.optional("if_ts", m.if_ts);
  v.group(m.session);
}

template <class Visitor>
void describe(Visitor& v, IsA<DeleteOf> auto& m) {
  v.required("key", m.key, Rule::key);
  v.optional("if_ts", m.if_ts);
  v.group(m.session);
}

template <class Visitor>
void describe(Visitor& v, Is<Get> auto& m) {
  v.required("key", m.key, Rule::key);
  v.optional("ts", m.ts);
  v.optional("consistency", m.consistency);
  v.optional("newer_than", m.newer_than);
}

template <class Visitor>
void describe(Visitor& v, Is<List> auto& m) {
  v.optional("prefix", m.prefix, Rule::prefix);
  v.optional("after", m.after, Rule::prefix);
  v.optional("limit", m.limit, Rule::at_least_one);
  v.optional("keys_only", m.keys_only);
  v.optional("ts", m.ts);
  v.optional("consistency", m.consistency);
}

template <class Visitor>
void describe(Visitor& v, IsA<TxnConditionOf> auto& m) {
  v.required("key", m.key, Rule::key);
  v.required("ts", m.ts);
}

template <class Visitor>
void describe(Visitor& v, IsA<TxnOperationOf> auto& m) {
  v.required("op", m.op);
  v.required("key", m.key, Rule::key);
  v.value_if_any(m.value);
  v.demand(m.value.has_value() || m.op != Operation::put, "a PUT in a TXN needs \"value\"");
}

template <class Visitor>
void describe(Visitor& v, IsA<TxnOf> auto& m) {
  v.optional("if", m.conditions, Rule::operations);
  v.optional("then", m.then, Rule::operations);
  v.optional("else", m.otherwise, Rule::operations);
  v.group(m.session);
}

template <class Visitor>
void describe(Visitor& v, Is<Watch> auto& m) {
  v.optional("key", m.key, Rule::key);
  v.optional("prefix", m.prefix, Rule::prefix);
  v.optional("from_ts", m.from_ts);
  v.demand(m.key.has_value() != m.prefix.has_value(), "WATCH needs \"key\" or \"prefix\", and not both");
}

template <class Visitor>
void describe(Visitor& v, Is<Cancel> auto& m) {
  v.required("watch", m.watch);
}

template <class Visitor>
void describe(Visitor&, Is<Status> auto&) {}

template <class Visitor>
void describe(Visitor& v, Is<Backup> auto& m) {
  v.optional("ts", m.ts);
  v.optional("snapshot", m.snapshot);
  v.optional("offset", m.offset);
}

// ---- Answers -------------------------------------------------------------------------------------------

template <class Visitor>
void describe(Visitor& v, Is<Member> auto& m) {
  v.required("node", m.node);
  v.required("address", m.address);
}

template <class Visitor>
void describe(Visitor& v, Is<InitOk> auto& m) {
  v.required("protocol", m.protocol);
  v.standard("server", m.server);
  v.required("cluster", m.cluster);
  v.required("node", m.node);
  v.standard("leader", m.leader);
  v.required("applied", m.applied);
  v.required("members", m.members);
}

template <class Visitor>
void describe(Visitor& v, Is<PutOk> auto& m) {
  v.required("key", m.key, Rule::key);
  v.required("ts", m.ts);
}

template <class Visitor>
void describe(Visitor& v, Is<DeleteOk> auto& m) {
  v.required("key", m.key, Rule::key);
  v.required("ts", m.ts);
  v.required("found", m.found);
}

template <class Visitor>
void describe(Visitor& v, Is<GetOk> auto& m) {
  v.required("key", m.key, Rule::key);
  v.value(m.value);
  v.required("ts", m.ts);
  v.required("applied", m.applied);
  v.standard("node", m.node);
}

template <class Visitor>
void describe(Visitor& v, Is<WaitForResponse> auto& m) {
  v.optional("key", m.key, Rule::key);
  v.required("ts", m.ts);
  v.required("applied", m.applied);
  v.standard("node", m.node);
}

template <class Visitor>
void describe(Visitor& v, Is<ListItem> auto& m) {
  v.required("key", m.key, Rule::key);
  v.value_if_any(m.value);
  v.required("ts", m.ts);
}

template <class Visitor>
void describe(Visitor& v, Is<ListOk> auto& m) {
  v.required("items", m.items);
  v.required("more", m.more);
  v.required("applied", m.applied);
  v.standard("node", m.node);
}

template <class Visitor>
void describe(Visitor& v, Is<TxnResult> auto& m) {
  v.required("op", m.op);
  v.required("key", m.key, Rule::key);
  if (m.op == Operation::get) {
    v.value(m.value);
  } else {
    v.value_if_any(m.value);  // as many members, whatever the operation: it may come last
  }
  v.required("ts", m.ts);
  if (m.op == Operation::erase) {
    v.standard("found", m.found);
  } else {
    v.optional("found", m.found);
  }
}

template <class Visitor>
void describe(Visitor& v, Is<TxnOk> auto& m) {
  v.required("ts", m.ts);
  v.required("succeeded", m.succeeded);
  v.required("results", m.results);
}

template <class Visitor>
void describe(Visitor& v, Is<WatchOk> auto& m) {
  v.required("applied", m.applied);
  v.standard("node", m.node);
}

template <class Visitor>
void describe(Visitor& v, Is<Event> auto& m) {
  v.required("op", m.op);
  v.required("key", m.key, Rule::key);
  v.value(m.value);
  v.required("ts", m.ts);
  v.optional("more", m.more);
}

// Never read: an EVENT is read as an Event.
template <class Visitor>
void describe(Visitor& v, Is<SharedEvent> auto& m) {
  describe(v, m.once->event);
}

template <class Visitor>
void describe(Visitor& v, Is<CancelOk> auto& m) {
  v.required("watch", m.watch);
  v.standard("found", m.found);
}

template <class Visitor>
void describe(Visitor& v, Is<PeerStatus> auto& m) {
  v.required("node", m.node);
  v.standard("match", m.match);
  v.standard("last_contact_ms", m.last_contact_ms);
}

template <class Visitor>
void describe(Visitor& v, Is<StatusOk> auto& m) {
  v.required("node", m.node);
  v.standard("cluster", m.cluster);
  v.standard("role", m.role);
  v.standard("term", m.term);
  v.standard("leader", m.leader);
  v.standard("committed", m.committed);
  v.standard("applied", m.applied);
  v.standard("log_first", m.log_first);
  v.standard("log_last", m.log_last);
  v.standard("snapshot", m.snapshot);
  v.standard("keys", m.keys);
  v.standard("bytes", m.bytes);
  v.standard("quota", m.quota);
  v.standard("full", m.full);
  v.standard("digest", m.digest);
  v.standard("waiting", m.waiting);
  v.standard("watching", m.watching);
  v.optional("delay_ms", m.delay_ms);
  v.standard("connections", m.connections);
  v.standard("uptime_ms", m.uptime_ms);
  v.standard("version", m.version);
  if (m.role == "leader") {
    v.standard("peers", m.peers);  // a single server's are []
  } else {
    v.optional("peers", m.peers);
  }
}

template <class Visitor>
void describe(Visitor& v, Is<BackupOk> auto& m) {
  v.required("snapshot", m.snapshot);
  v.required("offset", m.offset);
  v.required("size", m.size);
  v.value(m.bytes);
  v.standard("node", m.node);
}

template <class Visitor>
void describe(Visitor& v, Is<Error> auto& m) {
  v.required("code", m.code);
  v.standard("message", m.message);
  v.optional("ts", m.ts);
  v.optional("applied", m.applied);
  v.optional("leader", m.leader);
  v.optional("cluster", m.cluster);
  v.optional("oldest", m.oldest);
}

// ---- Between servers -----------------------------------------------------------------------------------

template <class Visitor>
void describe(Visitor& v, Is<PeerInit> auto& m) {
  v.constant("role", "peer",
             "an INIT without \"role\":\"peer\" is a client's: clients connect to the client listener");
  v.required("protocol", m.protocol);
  v.required("cluster", m.cluster);
  v.required("node", m.node);
  v.required("identity", m.identity);
  v.required("to", m.to);
  v.standard("advertise", m.advertise);
  v.standard("peer_advertise", m.peer_advertise);
  v.optional("seed", m.seed);
}

template <class Visitor>
void describe(Visitor& v, Is<PeerInitOk> auto& m) {
  v.required("protocol", m.protocol);
  v.standard("server", m.server);
  v.required("cluster", m.cluster);
  v.required("node", m.node);
  v.required("identity", m.identity);
  v.standard("advertise", m.advertise);
  v.standard("peer_advertise", m.peer_advertise);
  v.optional("seed", m.seed);
}

template <class Visitor>
void describe(Visitor& v, Is<Vote> auto& m) {
  v.required("term", m.term);
  v.required("candidate", m.candidate);
  v.required("last_index", m.last_index);
  v.required("last_term", m.last_term);
  v.required("pre", m.pre);
  v.standard("transfer", m.transfer);
}

template <class Visitor>
void describe(Visitor& v, Is<VoteOk> auto& m) {
  v.required("term", m.term);
  v.required("granted", m.granted);
  v.required("pre", m.pre);
}

template <class Visitor>
void describe(Visitor&, Is<Noop> auto&) {}

template <class Visitor>
void describe(Visitor& v, Is<ClusterMember> auto& m) {
  v.required("node", m.node);
  v.required("identity", m.identity);
  v.required("peer_address", m.peer_address);
  v.required("client_address", m.client_address);
}

template <class Visitor>
void describe(Visitor& v, Is<Members> auto& m) {
  v.required("cluster", m.cluster);
  v.required("members", m.members);
}

template <class Visitor>
void describe(Visitor& v, IsA<CommandOf> auto& m) {
  v.constant("v", 1, "the command's format version \"v\" is not 1, the only one this server knows: update it");
  describe_alternative(v, m);
}

template <class Visitor>
void describe(Visitor& v, IsA<LogEntryOf> auto& m) {
  v.required("term", m.term);
  v.required("index", m.index);
  v.required("command", m.command);
}

template <class Visitor>
void describe(Visitor& v, IsA<ReplicationOf> auto& m) {
  v.required("term", m.term);
  v.required("leader", m.leader);
  v.required("prev_index", m.prev_index);
  v.required("prev_term", m.prev_term);
  v.required("entries", m.entries);
  v.required("commit", m.commit);
  v.required("round", m.round);
}

template <class Visitor>
void describe(Visitor& v, Is<ReplicationOk> auto& m) {
  v.required("term", m.term);
  v.required("success", m.success);
  v.required("match", m.match);
  v.required("round", m.round);
  v.optional("rejected", m.rejected);
  v.optional("hint_index", m.hint_index);
  v.optional("hint_term", m.hint_term);
  v.optional("wants_snapshot", m.wants_snapshot);
  v.optional("full", m.full);
}

template <class Visitor>
void describe(Visitor& v, Is<Snapshot> auto& m) {
  v.required("term", m.term);
  v.required("leader", m.leader);
  v.required("index", m.index);
  v.required("index_term", m.index_term);
  v.required("offset", m.offset);
  v.required("size", m.size);
  v.value(m.bytes);
}

template <class Visitor>
void describe(Visitor& v, Is<SnapshotOk> auto& m) {
  v.required("term", m.term);
  v.required("index", m.index);
  v.required("offset", m.offset);
  v.optional("damaged", m.damaged);
}

template <class Visitor>
void describe(Visitor& v, Is<TimeoutNow> auto& m) {
  v.required("term", m.term);
  v.required("leader", m.leader);
}

template <class Visitor>
void describe(Visitor&, Is<ReadIndex> auto&) {}

template <class Visitor>
void describe(Visitor& v, Is<ReadIndexOk> auto& m) {
  v.required("index", m.index);
}

template <class Visitor>
void describe(Visitor& v, Is<Forward> auto& m) {
  v.required("number", m.number);
  v.required("term", m.term);
  v.required("timeout_ms", m.timeout_ms, Rule::timeout);
  v.required("request", m.request);
}

template <class Visitor>
void describe(Visitor& v, Is<ForwardOk> auto& m) {
  v.required("number", m.number);
  v.required("answer", m.answer);
}

// ---- What a frame holds: the body's members and the envelope's -----------------------------------------
// "type" and "id" are the decoder's and encoder's own: they come first, and are read in a broken message too.

template <class Visitor>
void describe(Visitor& v, Is<Request> auto& m) {
  describe_alternative(v, m.body);
  v.optional("timeout_ms", m.timeout_ms, Rule::timeout);
  v.optional("cluster", m.cluster);
}

template <class Visitor>
void describe(Visitor& v, Is<Answer> auto& m) {
  describe_alternative(v, m.body);
}

template <class Visitor>
void describe(Visitor& v, Is<Peer> auto& m) {
  describe_alternative(v, m);
}

template <class Visitor>
void describe(Visitor& v, Is<ForwardRequest> auto& m) {
  describe_alternative(v, m);
}

template <class Visitor>
void describe(Visitor& v, Is<ForwardAnswer> auto& m) {
  describe_alternative(v, m);
}

}  // namespace kv::message

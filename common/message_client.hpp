// What clients ask and what they are answered (docs/protocol.md), as plain typed structs, and the protocol's
// limits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace kv {

inline constexpr std::uint64_t protocol_version = 1;
inline constexpr std::size_t max_key_bytes = 4096;
inline constexpr std::size_t max_value_bytes = 1 << 20;
inline constexpr std::uint64_t max_integer = (std::uint64_t{1} << 53) - 1;  // exact in every JSON reader
inline constexpr std::size_t max_json_depth = 32;
inline constexpr std::uint64_t max_list_items = 1000;   // of one LIST
inline constexpr std::size_t max_txn_operations = 128;  // in each list of a TXN
inline constexpr std::uint64_t default_timeout_ms = 5000;
inline constexpr std::uint64_t max_timeout_ms = 24ull * 3600 * 1000;  // longer ones are cut to this

namespace message {

enum class Code {
  bad_request,
  too_large,
  conflict,
  no_leader,
  timeout,
  unknown_outcome,
  session_expired,
  compacted,
  cluster_mismatch,
  no_space,
  overloaded,
  shutting_down,
};

// "BAD_REQUEST" and so on, as it stands on the wire.
std::string_view name_of(Code code);
std::optional<Code> code_named(std::string_view name);

enum class Consistency { session, linearizable, local };
std::string_view name_of(Consistency consistency);
std::optional<Consistency> consistency_named(std::string_view name);

// What a TXN does to a key, and what an EVENT says was done to it.
enum class Operation { put, erase, get };
std::string_view name_of(Operation operation);  // "PUT", "DELETE", "GET"
std::optional<Operation> operation_named(std::string_view name);

// ---- Requests of clients -------------------------------------------------------------------------------
// What also travels between servers is there twice: with texts of its own, and, to be encoded without copying them,
// with such as are kept elsewhere.

// Marks a write as the `seq`-th of a session, so that a retry is not applied twice (docs/protocol.md, PUT).
template <class Text>
struct WriteSessionOf {
  Text session;  // a UUID of the client's choosing
  std::uint64_t seq = 0;
  std::uint64_t session_from = 0;
  bool operator==(const WriteSessionOf&) const = default;
};
using WriteSession = WriteSessionOf<std::string>;

struct Init {
  std::uint64_t protocol = protocol_version;
  std::string client;  // name and version of the client program, for logs
  bool operator==(const Init&) const = default;
};

template <class Text>
struct PutOf {
  Text key;
  Text value;
  std::optional<std::uint64_t> if_ts;
  std::optional<WriteSessionOf<Text>> session;
  bool operator==(const PutOf&) const = default;
};
using Put = PutOf<std::string>;

template <class Text>
struct DeleteOf {
  Text key;
  std::optional<std::uint64_t> if_ts;
  std::optional<WriteSessionOf<Text>> session;
  bool operator==(const DeleteOf&) const = default;
};
using Delete = DeleteOf<std::string>;

struct Get {
  std::string key;
  std::uint64_t ts = 0;
  Consistency consistency = Consistency::session;
  std::optional<std::uint64_t> newer_than = {};  // wait for a version of the key with a greater ts
  bool operator==(const Get&) const = default;
};

// The keys that begin with `prefix` and are greater than `after`, in byte order.
struct List {
  std::string prefix;
  std::string after;
  std::optional<std::uint64_t> limit;  // none: max_list_items, which is also the most
  bool keys_only = false;
  std::uint64_t ts = 0;
  Consistency consistency = Consistency::session;
  bool operator==(const List&) const = default;
};

template <class Text>
struct TxnConditionOf {
  Text key;
  std::uint64_t ts = 0;  // the key's current one; 0: it is absent
  bool operator==(const TxnConditionOf&) const = default;
};
using TxnCondition = TxnConditionOf<std::string>;

template <class Text>
struct TxnOperationOf {
  Operation op = Operation::get;
  Text key;
  std::optional<Text> value;  // of a PUT
  bool operator==(const TxnOperationOf&) const = default;
};
using TxnOperation = TxnOperationOf<std::string>;

// Does `then` if all conditions hold, `otherwise` if not: all of it at one position, or nothing.
template <class Text>
struct TxnOf {
  std::vector<TxnConditionOf<Text>> conditions;
  std::vector<TxnOperationOf<Text>> then;
  std::vector<TxnOperationOf<Text>> otherwise;
  std::optional<WriteSessionOf<Text>> session;
  bool operator==(const TxnOf&) const = default;
};
using Txn = TxnOf<std::string>;

// Asks for an EVENT for each change of a key, or of all that begin with a prefix.
struct Watch {
  std::optional<std::string> key;        // either this ...
  std::optional<std::string> prefix;     // ... or this
  std::optional<std::uint64_t> from_ts;  // changes after this position; none: after now
  bool operator==(const Watch&) const = default;
};

// No more EVENTs of the watch with this id.
struct Cancel {
  std::uint64_t watch = 0;
  bool operator==(const Cancel&) const = default;
};

struct Status {
  bool operator==(const Status&) const = default;
};

// A part of the server's whole state, as a snapshot's bytes (docs/formats.md). `snapshot` 0 asks for the state of
// now; the answer says which position that is, and the following requests name it.
struct Backup {
  std::uint64_t ts = 0;  // of this position or a later one
  std::uint64_t snapshot = 0;
  std::uint64_t offset = 0;
  bool operator==(const Backup&) const = default;
};

// What a client asks. `cluster` is empty unless the client remembers one.
struct Request {
  std::uint64_t id = 0;
  std::optional<std::uint64_t> timeout_ms;
  std::string cluster;
  std::variant<Init, Put, Delete, Get, List, Txn, Watch, Cancel, Status, Backup> body;
  bool operator==(const Request&) const = default;
};

// ---- Answers to clients --------------------------------------------------------------------------------

struct Member {
  std::string node;
  std::string address;  // where clients reach it
  bool operator==(const Member&) const = default;
};

struct InitOk {
  std::uint64_t protocol = protocol_version;
  std::string server;
  std::string cluster;
  std::string node;
  std::string leader;  // empty: none known now
  std::uint64_t applied = 0;
  std::vector<Member> members;
  bool operator==(const InitOk&) const = default;
};

struct PutOk {
  std::string key;
  std::uint64_t ts = 0;
  bool operator==(const PutOk&) const = default;
};

struct DeleteOk {
  std::string key;
  std::uint64_t ts = 0;
  bool found = false;
  bool operator==(const DeleteOk&) const = default;
};

struct GetOk {
  std::string key;
  std::optional<std::string> value;  // nullopt: absent, and then ts is 0
  std::uint64_t ts = 0;
  std::uint64_t applied = 0;
  std::string node;
  bool operator==(const GetOk&) const = default;
};

struct WaitForResponse {
  std::string key;  // empty: it is a LIST that waits
  std::uint64_t ts = 0;
  std::uint64_t applied = 0;
  std::string node;
  bool operator==(const WaitForResponse&) const = default;
};

struct ListItem {
  std::string key;
  std::optional<std::string> value;  // nullopt: only keys were asked for
  std::uint64_t ts = 0;
  bool operator==(const ListItem&) const = default;
};

struct ListOk {
  std::vector<ListItem> items;
  bool more = false;  // there are others behind the last of these
  std::uint64_t applied = 0;
  std::string node;
  bool operator==(const ListOk&) const = default;
};

// What an operation of a TXN came to.
struct TxnResult {
  Operation op = Operation::get;
  std::string key;
  std::optional<std::string> value;  // of a GET; nullopt: absent, and then ts is 0
  std::uint64_t ts = 0;
  bool found = false;  // of a DELETE: there was something to delete
  bool operator==(const TxnResult&) const = default;
};

struct TxnOk {
  std::uint64_t ts = 0;
  bool succeeded = false;  // the conditions held, so `then` was done
  std::vector<TxnResult> results;
  bool operator==(const TxnOk&) const = default;
};

struct WatchOk {
  std::uint64_t applied = 0;
  std::string node;
  bool operator==(const WatchOk&) const = default;
};

// A change, to one who watches.
struct Event {
  Operation op = Operation::put;
  std::string key;
  std::optional<std::string> value;  // of a PUT
  std::uint64_t ts = 0;
  bool more = false;  // another change of the same ts follows for this watch
  bool operator==(const Event&) const = default;
};

// The same, for all that watch: it is encoded once, by the first encode(), and only the id and `more` are each
// one's own.
struct SharedEvent {
  struct Once {
    Event event;
    std::string json;  // without an id; empty: not encoded yet
  };
  std::shared_ptr<Once> once;
  bool more = false;
  bool operator==(const SharedEvent&) const = default;
};

struct CancelOk {
  std::uint64_t watch = 0;
  bool found = false;  // false: there was no such watch any more
  bool operator==(const CancelOk&) const = default;
};

struct PeerStatus {
  std::string node;
  std::uint64_t match = 0;
  std::uint64_t last_contact_ms = 0;
  bool operator==(const PeerStatus&) const = default;
};

struct StatusOk {
  std::string node;
  std::string cluster;
  std::string role;  // leader, follower, candidate, learner
  std::uint64_t term = 0;
  std::string leader;
  std::uint64_t committed = 0;
  std::uint64_t applied = 0;
  std::uint64_t log_first = 0;
  std::uint64_t log_last = 0;
  std::uint64_t snapshot = 0;
  std::uint64_t keys = 0;
  std::uint64_t bytes = 0;    // of keys and values
  std::uint64_t quota = 0;    // the most that they may be; 0: no limit
  bool full = false;          // the quota is reached, or a disk is full: writes that add get NO_SPACE
  std::string digest;         // of the contents at `applied`: equal on all servers at equal positions
  std::uint64_t waiting = 0;  // parked reads
  std::uint64_t connections = 0;
  std::uint64_t uptime_ms = 0;
  std::string version;
  std::vector<PeerStatus> peers;  // at the leader; else empty
  std::uint64_t watching = 0;     // watches
  std::uint64_t delay_ms = 0;     // by which everything is applied late on purpose
  bool operator==(const StatusOk&) const = default;
};

// The bytes from `offset` on; the last ones when offset and they come to `size`.
struct BackupOk {
  std::uint64_t snapshot = 0;
  std::uint64_t offset = 0;
  std::uint64_t size = 0;  // of the whole
  std::string bytes;
  std::string node;
  bool operator==(const BackupOk&) const = default;
};

struct Error {
  Code code = Code::bad_request;
  std::string message;                       // for a person: what is wrong, and what to do
  std::optional<std::uint64_t> ts;           // CONFLICT: the key's current one; TIMEOUT: the one asked for
  std::optional<std::uint64_t> applied;      // TIMEOUT: how far the server is
  std::optional<std::string> leader;         // TIMEOUT: who leads, empty if nobody
  std::optional<std::string> cluster;        // CLUSTER_MISMATCH: this server's
  std::optional<std::uint64_t> oldest = {};  // COMPACTED: the oldest position whose changes are still known
  bool operator==(const Error&) const = default;
};

inline Error make_error(Code code, std::string text) {
  Error error;
  error.code = code;
  error.message = std::move(text);
  return error;
}

// `id` is nullopt only for an ERROR about a frame whose id could not be read.
struct Answer {
  std::optional<std::uint64_t> id;
  std::variant<InitOk, PutOk, DeleteOk, GetOk, WaitForResponse, ListOk, TxnOk, WatchOk, Event, SharedEvent,
               CancelOk, StatusOk, BackupOk, Error>
      body;
  bool operator==(const Answer&) const = default;
};

}  // namespace message
}  // namespace kv

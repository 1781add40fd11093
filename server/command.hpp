// The commands of the replicated log: what a write asks, in the form in which log and disk keep it.
//
// decode(encode(c)) == c, and encode is canonical: equal commands give equal bytes on every machine. The
// first byte is the format's version. A client's write holds no text of its own: it shows that of the bytes, or of
// the message, that it was made of, which must outlive it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kv::command {

// See docs/protocol.md, PUT: makes a retry of the write safe.
struct Session {
  std::string_view id;
  std::uint64_t seq = 0;
  std::uint64_t from = 0;
  bool operator==(const Session&) const = default;
};

struct Put {
  std::string_view key;
  std::string_view value;
  std::optional<std::uint64_t> if_ts;
  std::optional<Session> session;
  bool operator==(const Put&) const = default;
};

struct Delete {
  std::string_view key;
  std::optional<std::uint64_t> if_ts;
  std::optional<Session> session;
  bool operator==(const Delete&) const = default;
};

// What a transaction does at one position, or does not.
struct Operation {
  enum class What : std::uint8_t { put = 1, erase = 2, get = 3 };
  What what = What::get;
  std::string_view key;
  std::string_view value;  // of a put; else empty
  bool operator==(const Operation&) const = default;
};

struct Condition {
  std::string_view key;
  std::uint64_t ts = 0;  // 0: absent
  bool operator==(const Condition&) const = default;
};

// Does `then` if all conditions hold, `otherwise` if not.
struct Txn {
  std::vector<Condition> conditions;
  std::vector<Operation> then;
  std::vector<Operation> otherwise;
  std::optional<Session> session;
  bool operator==(const Txn&) const = default;
};

struct Member {
  std::string node;
  std::string identity;
  std::string peer_address;
  std::string client_address;
  bool operator==(const Member&) const = default;
};

// The cluster's id and everyone in it. The first entry of every log is one.
struct Members {
  std::string cluster;
  std::vector<Member> members;  // sorted by name
  bool operator==(const Members&) const = default;
};

using Command = std::variant<Put, Delete, Txn, Members>;

std::string encode(const Command& command);
void encode(const Command& command, std::string& out);  // appends
// Of one without members, `bytes` must outlive what is returned. nullopt: not a command of a version that this
// program knows.
std::optional<Command> decode(std::string_view bytes);
// Whether they are those of a Members, which few are, at the price of a look.
bool is_members(std::string_view bytes);
// The key of a Put or Delete, for a look at what is there; empty of any other command, and of bytes that are none.
std::string_view key_of(std::string_view bytes);

}  // namespace kv::command

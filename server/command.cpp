#include "server/command.hpp"

#include <algorithm>
#include <cassert>
#include <limits>
#include <utility>

#include "common/little_endian.hpp"

// The bytes are described in docs/formats.md, "A command". Every field has exactly one way to be written, so
// a canonical encoding needs no care here, and decode() refuses what encode() would not have written.
namespace kv::command {
namespace {

constexpr std::uint8_t version = 1;

enum class Kind : std::uint8_t { put = 1, erase = 2, members = 3, txn = 4 };

constexpr std::uint8_t has_if_ts = 1;
constexpr std::uint8_t has_session = 2;

// A string of no bytes takes four; a member is four strings.
constexpr std::size_t smallest_member_bytes = 4 * sizeof(std::uint32_t);
constexpr std::size_t smallest_condition_bytes = sizeof(std::uint32_t) + sizeof(std::uint64_t);
constexpr std::size_t smallest_operation_bytes = 1 + sizeof(std::uint32_t);

bool sorted(const Members& members) {
  const auto not_ascending = [](const Member& a, const Member& b) { return a.node >= b.node; };
  return std::adjacent_find(members.members.begin(), members.members.end(), not_ascending) == members.members.end();
}

class Encoder {
 public:
  explicit Encoder(std::string& out) : bytes_(out) {}

  void operator()(const Put& put) {
    start(Kind::put);
    byte(flags(put.if_ts, put.session));
    string(put.key);
    string(put.value);
    conditions(put.if_ts, put.session);
  }

  void operator()(const Delete& erase) {
    start(Kind::erase);
    byte(flags(erase.if_ts, erase.session));
    string(erase.key);
    conditions(erase.if_ts, erase.session);
  }

  void operator()(const Txn& txn) {
    start(Kind::txn);
    byte(flags(std::nullopt, txn.session));
    number<std::uint32_t>(txn.conditions.size());
    for (const Condition& condition : txn.conditions) {
      string(condition.key);
      number<std::uint64_t>(condition.ts);
    }
    operations(txn.then);
    operations(txn.otherwise);
    conditions(std::nullopt, txn.session);
  }

  void operator()(const Members& members) {
    assert(sorted(members));
    start(Kind::members);
    string(members.cluster);
    number<std::uint32_t>(members.members.size());
    for (const Member& member : members.members) {
      string(member.node);
      string(member.identity);
      string(member.peer_address);
      string(member.client_address);
    }
  }

 private:
  void start(Kind kind) {
    byte(version);
    byte(static_cast<std::uint8_t>(kind));
  }

  void operations(const std::vector<Operation>& list) {
    number<std::uint32_t>(list.size());
    for (const Operation& operation : list) {
      byte(static_cast<std::uint8_t>(operation.what));
      string(operation.key);
      if (operation.what == Operation::What::put) string(operation.value);
    }
  }

  static std::uint8_t flags(const std::optional<std::uint64_t>& if_ts, const std::optional<Session>& session) {
    return static_cast<std::uint8_t>((if_ts ? has_if_ts : 0) | (session ? has_session : 0));
  }

  void conditions(const std::optional<std::uint64_t>& if_ts, const std::optional<Session>& session) {
    if (if_ts) number<std::uint64_t>(*if_ts);
    if (!session) return;
    string(session->id);
    number<std::uint64_t>(session->seq);
    number<std::uint64_t>(session->from);
  }

  void byte(std::uint8_t value) { bytes_.push_back(static_cast<char>(value)); }

  template <class Unsigned>
  void number(std::uint64_t value) {
    append_number<Unsigned>(bytes_, value);
  }

  void string(std::string_view text) {
    number<std::uint32_t>(text.size());
    bytes_.append(text);
  }

  std::string& bytes_;
};

// Reads field after field. Once something does not fit, ok() is false for good and every further field is
// empty, so that it is enough to ask at the end.
class Decoder {
 public:
  explicit Decoder(std::string_view bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  bool done() const { return ok_ && rest_.empty(); }
  std::size_t remaining() const { return rest_.size(); }

  std::uint8_t byte() { return number<std::uint8_t>(); }

  template <class Unsigned>
  Unsigned number() {
    return read_number<Unsigned>(take(sizeof(Unsigned)));
  }

  std::string_view string() { return take(number<std::uint32_t>()); }

 private:
  std::string_view take(std::uint64_t size) {
    if (size > rest_.size()) ok_ = false;
    if (!ok_) return {};
    const std::string_view field = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return field;
  }

  std::string_view rest_;
  bool ok_ = true;
};

struct Conditions {
  std::optional<std::uint64_t> if_ts;
  std::optional<Session> session;
};

Conditions decode_conditions(Decoder& in, std::uint8_t flags) {
  Conditions conditions;
  if (flags & has_if_ts) conditions.if_ts = in.number<std::uint64_t>();
  if (flags & has_session) {
    Session& session = conditions.session.emplace();
    session.id = in.string();
    session.seq = in.number<std::uint64_t>();
    session.from = in.number<std::uint64_t>();
  }
  return conditions;
}

std::optional<Command> decode_put(Decoder& in) {
  const std::uint8_t flags = in.byte();
  if (flags & ~(has_if_ts | has_session)) return std::nullopt;
  Put put;
  put.key = in.string();
  put.value = in.string();
  Conditions conditions = decode_conditions(in, flags);
  put.if_ts = conditions.if_ts;
  put.session = std::move(conditions.session);
  return put;
}

std::optional<Command> decode_delete(Decoder& in) {
  const std::uint8_t flags = in.byte();
  if (flags & ~(has_if_ts | has_session)) return std::nullopt;
  Delete erase;
  erase.key = in.string();
  Conditions conditions = decode_conditions(in, flags);
  erase.if_ts = conditions.if_ts;
  erase.session = std::move(conditions.session);
  return erase;
}

// False: more than there can be, or of an unknown kind.
bool decode_operations(Decoder& in, std::vector<Operation>& list) {
  const std::uint64_t count = in.number<std::uint32_t>();
  // Before anything is made for them: so many would not fit into what is left.
  if (count > in.remaining() / smallest_operation_bytes) return false;
  list.reserve(count);
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    Operation& operation = list.emplace_back();
    operation.what = static_cast<Operation::What>(in.byte());
    if (operation.what < Operation::What::put || operation.what > Operation::What::get) return false;
    operation.key = in.string();
    if (operation.what == Operation::What::put) operation.value = in.string();
  }
  return true;
}

std::optional<Command> decode_txn(Decoder& in) {
  const std::uint8_t flags = in.byte();
  if (flags & ~has_session) return std::nullopt;
  Txn txn;
  const std::uint64_t count = in.number<std::uint32_t>();
  if (count > in.remaining() / smallest_condition_bytes) return std::nullopt;
  txn.conditions.reserve(count);
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    Condition& condition = txn.conditions.emplace_back();
    condition.key = in.string();
    condition.ts = in.number<std::uint64_t>();
  }
  if (!decode_operations(in, txn.then) || !decode_operations(in, txn.otherwise)) return std::nullopt;
  txn.session = decode_conditions(in, flags).session;
  return txn;
}

std::optional<Command> decode_members(Decoder& in) {
  Members members;
  members.cluster = in.string();
  const std::uint64_t count = in.number<std::uint32_t>();
  // Before anything is made for them: so many would not fit into what is left.
  if (count > in.remaining() / smallest_member_bytes) return std::nullopt;
  members.members.reserve(count);
  for (std::uint64_t i = 0; i < count && in.ok(); ++i) {
    Member& member = members.members.emplace_back();
    member.node = in.string();
    member.identity = in.string();
    member.peer_address = in.string();
    member.client_address = in.string();
  }
  if (!sorted(members)) return std::nullopt;
  return members;
}

std::optional<Command> decode_kind(Decoder& in) {
  switch (static_cast<Kind>(in.byte())) {
    case Kind::put:
      return decode_put(in);
    case Kind::erase:
      return decode_delete(in);
    case Kind::txn:
      return decode_txn(in);
    case Kind::members:
      return decode_members(in);
  }
  return std::nullopt;
}

}  // namespace

void encode(const Command& command, std::string& out) {
  std::visit(Encoder(out), command);
}

std::string encode(const Command& command) {
  std::string out;
  encode(command, out);
  return out;
}

std::optional<Command> decode(std::string_view bytes) {
  Decoder in(bytes);
  if (in.byte() != version) return std::nullopt;
  std::optional<Command> command = decode_kind(in);
  if (!in.done()) return std::nullopt;
  return command;
}

bool is_members(std::string_view bytes) {
  return bytes.size() > 1 && bytes[1] == static_cast<char>(Kind::members);
}

std::string_view key_of(std::string_view bytes) {
  Decoder in(bytes);
  const std::uint8_t written = in.byte();
  const auto kind = static_cast<Kind>(in.byte());
  in.byte();  // flags
  const std::string_view key = in.string();
  return in.ok() && written == version && (kind == Kind::put || kind == Kind::erase) ? key : std::string_view();
}

}  // namespace kv::command

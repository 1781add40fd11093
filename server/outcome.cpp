#include "server/outcome.hpp"

#include <cstdlib>
#include <string_view>
#include <utility>

#include "common/little_endian.hpp"
#include "common/overloaded.hpp"

// The bytes of a transaction's results are described in docs/formats.md, "A snapshot".
namespace kv {
namespace {

using What = command::Operation::What;

constexpr std::uint8_t has_value = 1;
constexpr std::uint8_t was_found = 2;
constexpr std::size_t smallest_result_bytes = 1 + 1 + sizeof(std::uint64_t) + sizeof(std::uint32_t);

void put_string(std::string& out, std::string_view text) {
  append_number<std::uint32_t>(out, text.size());
  out.append(text);
}

std::string encode(const TxnDone& done) {
  std::string out;
  out.push_back(done.succeeded ? 1 : 0);
  for (const TxnResult& result : done.results) {
    out.push_back(static_cast<char>(result.what));
    out.push_back(static_cast<char>((result.value ? has_value : 0) | (result.found ? was_found : 0)));
    append_number<std::uint64_t>(out, result.ts);
    put_string(out, result.key);
    if (result.value) put_string(out, *result.value);
  }
  return out;
}

// Takes bytes from the front; once there are too few, ok is false and all that follows is empty.
struct Rest {
  std::string_view bytes;
  bool ok = true;

  std::string_view take(std::uint64_t size) {
    if (size > bytes.size()) ok = false;
    if (!ok) return {};
    const std::string_view taken = bytes.substr(0, size);
    bytes.remove_prefix(size);
    return taken;
  }
  template <class Unsigned>
  Unsigned number() {
    return read_number<Unsigned>(take(sizeof(Unsigned)));
  }
  std::string_view string() { return take(number<std::uint32_t>()); }
};

std::optional<TxnDone> decode(std::string_view bytes, std::uint64_t ts) {
  Rest rest{bytes};
  TxnDone done{ts, false, {}};
  const std::uint64_t succeeded = rest.number<std::uint8_t>();
  if (!rest.ok || succeeded > 1) return std::nullopt;
  done.succeeded = succeeded == 1;
  done.results.reserve(rest.bytes.size() / smallest_result_bytes);
  while (rest.ok && !rest.bytes.empty()) {
    TxnResult& result = done.results.emplace_back();
    result.what = static_cast<What>(rest.number<std::uint8_t>());
    if (result.what < What::put || result.what > What::get) return std::nullopt;
    const std::uint8_t flags = rest.number<std::uint8_t>();
    if (flags & ~(has_value | was_found)) return std::nullopt;
    result.found = (flags & was_found) != 0;
    result.ts = rest.number<std::uint64_t>();
    result.key = rest.string();
    if (flags & has_value) result.value = rest.string();
  }
  if (!rest.ok) return std::nullopt;
  return done;
}

}  // namespace

std::size_t value_bytes(const Outcome& outcome) {
  const auto* done = std::get_if<TxnDone>(&outcome);
  if (!done) return 0;
  std::size_t bytes = 0;
  for (const TxnResult& result : done->results) bytes += result.value ? result.value->size() : 0;
  return bytes;
}

snapshot::Answer kept_answer(std::uint64_t seq, const Outcome& outcome) {
  using snapshot::Answer;
  using snapshot::Kind;
  return std::visit(
      Overloaded{[&](const Written& written) {
                   return Answer{seq, Kind::written, written.ts, {}};
                 },
                 [&](const Deleted& deleted) {
                   return Answer{seq, deleted.found ? Kind::deleted : Kind::deleted_absent, deleted.ts, {}};
                 },
                 [&](const Conflict& conflict) {
                   return Answer{seq, Kind::conflict, conflict.current_ts, {}};
                 },
                 [&](const SessionExpired&) {
                   return Answer{seq, Kind::session_expired, 0, {}};
                 },
                 [&](const TxnDone& done) {
                   return Answer{seq, Kind::txn, done.ts, SharedBytes(encode(done))};
                 },
                 [&](const TxnTooLarge&) {
                   return Answer{seq, Kind::txn_too_large, 0, {}};
                 },
                 [](const MembersNoted&) -> Answer { std::abort(); }},
      outcome);
}

Outcome outcome_of(const snapshot::Answer& answer) {
  switch (answer.kind) {
    case snapshot::Kind::written:
      return Written{answer.number};
    case snapshot::Kind::deleted:
      return Deleted{answer.number, true};
    case snapshot::Kind::deleted_absent:
      return Deleted{answer.number, false};
    case snapshot::Kind::conflict:
      return Conflict{answer.number};
    case snapshot::Kind::txn:
      return *decode(*answer.results, answer.number);
    case snapshot::Kind::txn_too_large:
      return TxnTooLarge{};
    case snapshot::Kind::session_expired:
      break;
  }
  return SessionExpired{};
}

bool is_sound(const snapshot::Answer& answer) {
  if (answer.kind != snapshot::Kind::txn) return true;
  return answer.results && decode(*answer.results, answer.number).has_value();
}

}  // namespace kv

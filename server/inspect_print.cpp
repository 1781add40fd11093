#include "server/inspect_print.hpp"

#include <algorithm>
#include <cstdio>
#include <iomanip>
#include <string>

#include "common/snapshot_format.hpp"
#include "common/table.hpp"
#include "common/text.hpp"

namespace kv::inspect {
namespace {

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

// "3-17", "3", or "-" where there is nothing.
std::string range(std::uint64_t first, std::uint64_t last, bool is_empty) {
  if (is_empty) return "-";
  return first == last ? number(first) : number(first) + "-" + number(last);
}

std::string quoted(const std::string& key) {
  return "\"" + escape_control(key, key.size()) + "\"";
}

const char* name_of(RecordKind kind) {
  switch (kind) {
    case RecordKind::vote:
      return "VOTE";
    case RecordKind::snapshot:
      return "SNAPSHOT";
    case RecordKind::put:
      return "PUT";
    case RecordKind::del:
      return "DELETE";
    case RecordKind::txn:
      return "TXN";
    case RecordKind::no_op:
      return "NOOP";
    case RecordKind::members:
      return "MEMBERS";
    case RecordKind::unknown:
      break;
  }
  return "UNKNOWN";
}

std::string printable(const Record& record) {
  if (record.kind == RecordKind::txn) return record.text;  // which is
  if (record.kind == RecordKind::put || record.kind == RecordKind::del) return quoted(record.text);
  return escape_control(record.text, record.text.size());
}

// ---- For a person

void print_identity(const Findings& findings, std::optional<std::uint64_t> holder, std::ostream& out) {
  out << "Data directory " << escape_control(findings.path);
  if (holder) out << ", in use by process " << *holder << ": what it is writing now may look torn";
  const raft::HardState& state = findings.hard_state;
  const std::string vote =
      state.vote.empty() ? std::string("for nobody") : "for " + escape_control(state.vote.name);
  out << "\n\nIdentity  " << (findings.identity.empty() ? "unknown" : findings.identity) << "\nTerm      "
      << state.term.value << ", voted " << vote << "\nCluster   ";
  if (!findings.members) {
    out << "not known: no members are in a snapshot or in the log\n\n";
    return;
  }
  out << escape_control(findings.members->cluster) << "\n\n";
  Table table({"MEMBER", "SERVERS AT", "CLIENTS AT", "IDENTITY", ""});
  for (const command::Member& member : findings.members->members) {
    table.add({escape_control(member.node), escape_control(member.peer_address),
               escape_control(member.client_address), escape_control(member.identity),
               member.identity == findings.identity ? "this directory" : ""});
  }
  out << table.text(false) << "\n";
}

void print_segments(const Findings& findings, std::ostream& out) {
  if (findings.segments.empty()) {
    out << "No log.\n\n";
    return;
  }
  Table table({"SEGMENT", "SIZE", "BATCHES", "ENTRIES", "COMMIT", "FREE", ""});
  for (std::size_t column = 1; column <= 5; ++column) table.align_right(column);
  for (const Segment& segment : findings.segments) {
    table.add({segment.name, format_size(segment.bytes),
               range(segment.first_batch, segment.last_batch, segment.batches == 0),
               range(segment.first.value, segment.last.value, segment.entries == 0),
               segment.batches == 0 ? "-" : number(segment.commit.value),
               segment.free_bytes ? format_size(*segment.free_bytes) : "?",
               !segment.is_whole  ? "DAMAGED"
               : segment.is_spare ? "spare"
                                  : ""});
  }
  out << table.text(false) << "\n";
}

void print_snapshots(const Findings& findings, std::ostream& out) {
  if (findings.snapshots.empty()) {
    out << "No snapshots.\n\n";
    return;
  }
  Table table({"SNAPSHOT", "SIZE", "POSITION", "TERM", "KEYS", "DATA", "SESSIONS", "CONTENT DIGEST", ""});
  for (std::size_t column = 1; column <= 6; ++column) table.align_right(column);
  for (const Snapshot& snapshot : findings.snapshots) {
    const std::string index = number(snapshot.position.index.value);
    const std::string term = number(snapshot.position.term.value);
    if (snapshot.damage) {
      table.add({snapshot.name, format_size(snapshot.bytes), index, term, "?", "?", "?", "?", "DAMAGED"});
    } else {
      table.add({snapshot.name, format_size(snapshot.bytes), index, term, number(snapshot.keys),
                 format_size(snapshot.data_bytes), number(snapshot.sessions),
                 snapshot::digest_text(snapshot.digest), "whole"});
    }
  }
  out << table.text(false) << "\n";
}

void print_leftovers(const Findings& findings, std::ostream& out) {
  if (findings.leftovers.empty()) return;
  Table table({"OTHER FILE", "SIZE", ""});
  table.align_right(1);
  for (const Leftover& leftover : findings.leftovers) {
    table.add({escape_control(leftover.name), format_size(leftover.bytes), escape_control(leftover.what)});
  }
  out << table.text(false) << "\n";
}

// Line by line: there may be millions.
void print_records(const Findings& findings, std::ostream& out) {
  std::uint64_t highest = 0;
  for (const Record& record : findings.records) highest = std::max(highest, record.index.value);
  const int width = static_cast<int>(std::max<std::size_t>(8, number(highest).size()));
  out << std::setw(width) << "POSITION"
      << "    TERM  RECORD\n";
  for (const Record& record : findings.records) {
    std::string rest = name_of(record.kind);
    if (record.kind == RecordKind::vote) rest += record.text.empty() ? " for nobody" : " for";
    if (!record.text.empty()) rest += " " + printable(record);
    if (record.kind == RecordKind::put || record.value_bytes > 0)
      rest += ", " + number(record.value_bytes) + " bytes";
    if (record.is_replaced) rest += " (replaced)";
    out << std::setw(width) << (record.kind == RecordKind::vote ? "-" : number(record.index.value)) << "  "
        << std::setw(6) << record.term.value << "  " << rest << "\n";
  }
  out << "\n";
}

void print_keys(const Findings& findings, std::ostream& out) {
  std::uint64_t highest = 0;
  for (const Key& key : findings.keys) highest = std::max(highest, key.ts);
  const int width = static_cast<int>(std::max<std::size_t>(8, number(highest).size()));
  out << std::setw(width) << "TS"
      << "  VALUE BYTES  KEY\n";
  for (const Key& key : findings.keys) {
    out << std::setw(width) << key.ts << "  " << std::setw(11) << key.value_bytes << "  " << quoted(key.key)
        << "\n";
  }
  out << "\n";
}

void print_start(const Findings& findings, std::ostream& out) {
  if (!findings.start) {
    out << "A server refuses to start here.\n";
    return;
  }
  const Start& start = *findings.start;
  out << "A server that starts here begins with ";
  if (start.lacks_state) {
    out << "no state, for which it asks the leader, and ";
  } else if (start.snapshot.index != raft::Index{}) {
    out << "the snapshot of " << start.snapshot.index.value << " and ";
  } else {
    out << "no snapshot, and ";
  }
  if (start.first == raft::Index{}) {
    out << "no log behind it";
  } else {
    out << "the log " << range(start.first.value, start.last.value, false);
  }
  out << "; all up to " << start.commit.value << " is known to be committed.\n";
}

void print_problems(const Findings& findings, std::ostream& out) {
  for (const std::string& note : findings.notes) out << "Note: " << escape_control(note, note.size()) << ".\n";
  if (findings.problems.empty()) {
    out << "Nothing is wrong.\n";
    return;
  }
  out << "\n"
      << (findings.problems.size() == 1 ? "1 problem:" : number(findings.problems.size()) + " problems:") << "\n";
  for (const Problem& problem : findings.problems) {
    out << "\n  ";
    if (!problem.file.empty()) out << problem.file << " at offset " << problem.offset << ": ";
    out << escape_control(problem.what, problem.what.size()) << ".\n";
    out << "  What to do: " << escape_control(problem.remedy, problem.remedy.size()) << ".\n";
  }
}

// ---- For scripts

// JSON has no place for what is not UTF-8.
std::string utf8(const std::string& text) {
  return is_valid_utf8(text) ? text : escape_control(text, text.size());
}

JsonLine line(const char* type) {
  JsonLine json;
  json.add("type", type);
  return json;
}

void add_optional(JsonLine& json, const char* name, bool is_there, std::uint64_t value) {
  if (is_there) {
    json.add(name, value);
  } else {
    json.add_null(name);
  }
}

std::string members_json(const command::Members& members) {
  std::string json = "[";
  for (const command::Member& member : members.members) {
    JsonLine one;
    one.add("node", utf8(member.node))
        .add("identity", utf8(member.identity))
        .add("peer_address", utf8(member.peer_address))
        .add("client_address", utf8(member.client_address));
    json += (json.size() > 1 ? "," : "") + one.text();
  }
  return json + "]";
}

std::string directory_json(const Findings& findings, std::optional<std::uint64_t> holder) {
  JsonLine json = line("directory");
  json.add("path", utf8(findings.path));
  add_optional(json, "in_use_by", holder.has_value(), holder.value_or(0));
  json.add("identity", utf8(findings.identity))
      .add("term", findings.hard_state.term.value)
      .add("vote", utf8(findings.hard_state.vote.name));
  if (findings.members) {
    json.add("cluster", utf8(findings.members->cluster)).add_json("members", members_json(*findings.members));
  } else {
    json.add_null("cluster").add_json("members", "[]");
  }
  return json.text();
}

std::string json_of(const Segment& segment) {
  JsonLine json = line("segment");
  json.add("file", segment.name)
      .add("size", segment.bytes)
      .add("whole", segment.is_whole)
      .add("spare", segment.is_spare)
      .add("batches", segment.batches);
  add_optional(json, "first_batch", segment.batches > 0, segment.first_batch);
  add_optional(json, "last_batch", segment.batches > 0, segment.last_batch);
  json.add("entries", segment.entries);
  add_optional(json, "first_entry", segment.entries > 0, segment.first.value);
  add_optional(json, "last_entry", segment.entries > 0, segment.last.value);
  add_optional(json, "commit", segment.batches > 0, segment.commit.value);
  add_optional(json, "free", segment.free_bytes.has_value(), segment.free_bytes.value_or(0));
  return json.text();
}

std::string json_of(const Snapshot& snapshot) {
  JsonLine json = line("snapshot");
  json.add("file", snapshot.name)
      .add("size", snapshot.bytes)
      .add("whole", !snapshot.damage)
      .add("index", snapshot.position.index.value)
      .add("term", snapshot.position.term.value);
  if (snapshot.damage) return json.text();
  return json.add("keys", snapshot.keys)
      .add("bytes", snapshot.data_bytes)
      .add("sessions", snapshot.sessions)
      .add("digest", snapshot::digest_text(snapshot.digest))
      .text();
}

std::string json_of(const Record& record) {
  JsonLine json = line("entry");
  json.add("record", name_of(record.kind));
  add_optional(json, "index", record.kind != RecordKind::vote, record.index.value);
  json.add("term", record.term.value);
  if (record.kind == RecordKind::put || record.kind == RecordKind::del) json.add("key", utf8(record.text));
  if (record.kind == RecordKind::txn) json.add("does", utf8(record.text));
  if (record.kind == RecordKind::put || record.kind == RecordKind::txn) json.add("value_bytes", record.value_bytes);
  if (record.kind == RecordKind::vote) json.add("vote", utf8(record.text));
  if (record.kind == RecordKind::members) json.add("members", utf8(record.text));
  return json.add("replaced", record.is_replaced).text();
}

std::string json_of(const Problem& problem) {
  JsonLine json = line("problem");
  if (problem.file.empty()) {
    json.add_null("file").add_null("offset");
  } else {
    json.add("file", problem.file).add("offset", problem.offset);
  }
  return json.add("what", utf8(problem.what)).add("remedy", utf8(problem.remedy)).text();
}

std::string summary_json(const Findings& findings) {
  const bool starts = findings.start.has_value();
  const Start start = findings.start.value_or(Start{});
  JsonLine json = line("summary");
  json.add("starts", starts);
  add_optional(json, "snapshot", start.snapshot.index != raft::Index{}, start.snapshot.index.value);
  json.add("lacks_state", start.lacks_state);
  add_optional(json, "first_entry", start.first != raft::Index{}, start.first.value);
  add_optional(json, "last_entry", start.first != raft::Index{}, start.last.value);
  add_optional(json, "commit", starts, start.commit.value);
  return json.add("notes", findings.notes.size()).add("problems", findings.problems.size()).text();
}

}  // namespace

void print_text(const Findings& findings, std::optional<std::uint64_t> holder, const Options& options,
                std::ostream& out) {
  print_identity(findings, holder, out);
  print_segments(findings, out);
  print_snapshots(findings, out);
  print_leftovers(findings, out);
  if (options.records) print_records(findings, out);
  if (options.keys) print_keys(findings, out);
  print_start(findings, out);
  print_problems(findings, out);
}

void print_json(const Findings& findings, std::optional<std::uint64_t> holder, std::ostream& out) {
  out << directory_json(findings, holder) << "\n";
  for (const Segment& segment : findings.segments) out << json_of(segment) << "\n";
  for (const Snapshot& snapshot : findings.snapshots) out << json_of(snapshot) << "\n";
  for (const Leftover& leftover : findings.leftovers) {
    out << line("leftover")
               .add("file", utf8(leftover.name))
               .add("size", leftover.bytes)
               .add("what", utf8(leftover.what))
               .text()
        << "\n";
  }
  for (const Record& record : findings.records) out << json_of(record) << "\n";
  for (const Key& key : findings.keys) {
    out << line("key").add("key", utf8(key.key)).add("ts", key.ts).add("value_bytes", key.value_bytes).text()
        << "\n";
  }
  for (const std::string& note : findings.notes) out << line("note").add("text", utf8(note)).text() << "\n";
  for (const Problem& problem : findings.problems) out << json_of(problem) << "\n";
  out << summary_json(findings) << "\n";
}

}  // namespace kv::inspect

#include "tests/sim/transcript.hpp"

#include <algorithm>
#include <map>
#include <set>

namespace kv::sim {
namespace {

constexpr std::uint64_t scale = 16;  // more than there are keys

// The key's write at this position; 0 stays 0.
std::uint64_t place(std::uint64_t ts, const std::string& key) {
  if (ts == 0) return 0;
  return ts * scale + std::stoull(key.substr(key.find_first_of("0123456789"))) + 1;
}

// All writes up to this position.
std::uint64_t place_applied(std::uint64_t applied) {
  return applied * scale + scale - 1;
}

history::Consistency to_history(message::Consistency consistency) {
  switch (consistency) {
    case message::Consistency::linearizable:
      return history::Consistency::linearizable;
    case message::Consistency::local:
      return history::Consistency::local;
    case message::Consistency::session:
      break;
  }
  return history::Consistency::session;
}

std::optional<std::uint64_t> place(const std::optional<std::uint64_t>& ts, const std::string& key) {
  return ts ? std::optional(place(*ts, key)) : std::nullopt;
}

// That the condition did not hold, if that was how it ended.
void add_conflict(const message::Answer& answer, history::Operation& entry) {
  const auto* error = std::get_if<message::Error>(&answer.body);
  if (!error || error->code != message::Code::conflict || entry.outcome != history::Outcome::fail) return;
  entry.conflict = place(error->ts, entry.key);
}

void add(const message::Put& put, const message::Answer& answer, history::Operation entry, const Judge& judge,
         std::uint64_t end, history::History& out) {
  if (put.value.empty()) return;  // it was never asked
  entry.function = history::Function::put;
  entry.key = put.key;
  entry.value = put.value;
  entry.if_ts = place(put.if_ts, put.key);
  add_conflict(answer, entry);
  if (entry.outcome == history::Outcome::info) {
    const std::uint64_t ts = judge.position_of(put.value);
    entry.outcome = ts == 0 ? history::Outcome::fail : history::Outcome::ok;
    entry.ts = place(ts, put.key);
    entry.ended = end;
  } else if (const auto* ok = std::get_if<message::PutOk>(&answer.body)) {
    entry.ts = place(ok->ts, put.key);
  }
  out.push_back(std::move(entry));
}

void add(const message::Delete& del, const message::Answer& answer, history::Operation entry, const Judge&,
         std::uint64_t, history::History& out) {
  entry.function = history::Function::del;
  entry.key = del.key;
  entry.if_ts = place(del.if_ts, del.key);
  add_conflict(answer, entry);
  if (const auto* ok = std::get_if<message::DeleteOk>(&answer.body)) {
    entry.ts = place(ok->ts, del.key);
    entry.found = ok->found;
  }
  out.push_back(std::move(entry));
}

void add(const message::Get& get, const message::Answer& answer, history::Operation entry, const Judge&,
         std::uint64_t, history::History& out) {
  entry.key = get.key;
  entry.consistency = to_history(get.consistency);
  entry.asked_ts = get.ts * scale;
  if (const auto* ok = std::get_if<message::GetOk>(&answer.body); ok && entry.outcome == history::Outcome::ok) {
    entry.read = ok->value;
    entry.ts = ok->value ? place(ok->ts, get.key) : 0;
    entry.applied = place_applied(ok->applied);
  }
  out.push_back(std::move(entry));
}

std::string first_value(const message::Txn& txn) {
  for (const auto* operations : {&txn.then, &txn.otherwise}) {
    for (const message::TxnOperation& operation : *operations) {
      if (operation.value) return *operation.value;
    }
  }
  return {};
}

// What the operation reads of the state before the transaction.
void add_read(const message::TxnOperation& operation, const Model::TxnResult& result, std::uint64_t position,
              history::Operation entry, history::History& out) {
  entry.key = operation.key;
  entry.consistency = history::Consistency::linearizable;
  entry.read = result.value;
  entry.ts = place(result.ts, operation.key);
  entry.applied = place_applied(position - 1);
  out.push_back(std::move(entry));
}

void add_write(const Model& model, const message::TxnOperation& operation, std::uint64_t position,
               history::Operation entry, history::History& out) {
  const bool puts = operation.op == message::Operation::put;
  entry.key = operation.key;
  entry.function = puts ? history::Function::put : history::Function::del;
  entry.value = operation.value.value_or("");
  entry.ts = place(position, operation.key);
  const Model::Version* before = model.at(operation.key, position - 1);
  entry.found = !puts && before && before->value;
  out.push_back(std::move(entry));
}

void add(const message::Txn& txn, const message::Answer& answer, history::Operation entry, const Judge& judge,
         std::uint64_t end, history::History& out) {
  const auto* ok = std::get_if<message::TxnOk>(&answer.body);
  const bool is_known = ok && entry.outcome == history::Outcome::ok;
  const bool is_unknown = entry.outcome == history::Outcome::info;
  const std::uint64_t position = is_known ? ok->ts : is_unknown ? judge.position_of_txn(first_value(txn)) : 0;
  const Model::TxnEffect* effect = judge.model().txn(position);
  if (!effect) return;
  entry.outcome = history::Outcome::ok;
  entry.ended = is_known ? entry.ended : end;
  std::map<std::string, const message::TxnOperation*> writes;  // of each key the last
  std::set<std::string> read;
  for (std::size_t i = 0; i < effect->done().size(); ++i) {
    const message::TxnOperation& operation = effect->done()[i];
    if (operation.op != message::Operation::get) {
      writes[operation.key] = &operation;
    } else if (is_known && !writes.contains(operation.key) && read.insert(operation.key).second) {
      add_read(operation, effect->results[i], position, entry, out);
    }
  }
  for (const auto& [key, operation] : writes) add_write(judge.model(), *operation, position, entry, out);
}

// A LIST is the judge's alone, and so is all else.
void add(const auto&, const message::Answer&, const history::Operation&, const Judge&, std::uint64_t,
         history::History&) {}

}  // namespace

std::size_t Transcript::begin(const std::string& client, const message::Request& request) {
  Record& record = records_.emplace_back();
  record.client = client;
  record.request = request;
  record.invoked = ++clock_;
  return records_.size() - 1;
}

void Transcript::answered(std::size_t number, const std::string& node, const message::Answer& answer) {
  records_[number].node = node;
  records_[number].answer = answer;
}

void Transcript::ended(std::size_t number, history::Outcome outcome) {
  records_[number].outcome = outcome;
  if (outcome != history::Outcome::info) records_[number].ended = ++clock_;
}

history::History Transcript::history(const Judge& judge) const {
  history::History history;
  std::uint64_t end = clock_;
  for (const Record& record : records_) {
    history::Operation entry;
    entry.session = record.client;
    entry.node = record.node;
    entry.invoked = record.invoked;
    entry.ended = record.ended;
    entry.outcome = record.outcome;
    ++end;
    std::visit([&](const auto& body) { add(body, record.answer, entry, judge, end, history); },
               record.request.body);
  }
  for (std::size_t i = 0; i < history.size(); ++i) history[i].number = i;
  return history;
}

}  // namespace kv::sim

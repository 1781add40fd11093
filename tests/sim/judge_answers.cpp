// What clients are told, held against what is committed and what is on the disks.
#include <algorithm>

#include "tests/sim/judge.hpp"

namespace kv::sim {
namespace {

// Whether the answer promises that the attempt is not in a log and never will be (docs/protocol.md, ERROR).
bool says_no(message::Code code) {
  switch (code) {
    case message::Code::no_leader:
    case message::Code::no_space:
    case message::Code::overloaded:
    case message::Code::shutting_down:
    case message::Code::bad_request:
    case message::Code::too_large:
    case message::Code::cluster_mismatch:
      return true;
    default:
      return false;
  }
}

// What the request asks to be written, unless a session lets it be asked again; the values name it.
std::vector<std::string> values_without_session(const message::Request& request) {
  const auto* put = std::get_if<message::Put>(&request.body);
  if (put && !put->session) return {put->value};
  std::vector<std::string> values;
  if (const auto* txn = std::get_if<message::Txn>(&request.body); txn && !txn->session) {
    for (const auto* operations : {&txn->then, &txn->otherwise}) {
      for (const message::TxnOperation& operation : *operations) {
        if (operation.value) values.push_back(*operation.value);
      }
    }
  }
  return values;
}

bool is_same(const message::Txn& asked, const message::Txn& done) {
  return asked.then == done.then && asked.otherwise == done.otherwise && asked.conditions == done.conditions;
}

constexpr std::uint64_t allowance = 5;  // ticks that an answer may come late

}  // namespace

void Judge::asked(const std::string& node, ClientId client, const message::Request& request) {
  const std::uint64_t due = ticks_[node] + request.timeout_ms.value_or(default_timeout_ms) / tick_ms + allowance;
  open_[{client, request.id}] = {node, client, request, std::max(told_, floor_of(request)), false, due};
  const std::vector<std::string> values = values_without_session(request);
  if (!values.empty()) sent_order_[values.front()] = {client, next_order_++};
  if (const auto* watch = std::get_if<message::Watch>(&request.body)) {
    watches_.asked(node, client, request.id, *watch);
  }
}

void Judge::check_order(const std::string& value) {
  const auto sent = sent_order_.find(value);
  if (sent == sent_order_.end()) return;
  const auto [connection, order] = sent->second;
  std::uint64_t& last = committed_order_[connection];
  world_.check(Rule::order_kept, last < order,
               [&] { return "the write of '" + value + "' enters the log after one that was sent later"; });
  last = order;
}

void Judge::ticked(const std::string& node) {
  const std::uint64_t now = ++ticks_[node];
  for (const auto& [key, open] : open_) {
    if (open.node != node) continue;
    world_.check(Rule::every_request_answered, now <= open.due, [&] {
      return node + " has let the time-out of client " + std::to_string(key.first) + ", request " +
             std::to_string(key.second) + ", pass without an answer";
    });
  }
}

void Judge::stopped(const std::string& node) {
  watches_.stopped(node);
  for (const auto& [key, open] : open_) {
    world_.check(Rule::every_request_answered, open.node != node, [&] {
      return node + " has stopped in order and has not answered client " + std::to_string(key.first) +
             ", request " + std::to_string(key.second);
    });
  }
}

void Judge::gone(ClientId client) {
  gone_.insert(client);
  watches_.gone(client);
  open_.erase(open_.lower_bound({client, 0}), open_.lower_bound({client + 1, 0}));
}

void Judge::answers(const std::string& node, const ClientAnswer& answer) {
  if (gone_.contains(answer.client)) return;  // nobody hears it
  if (answer.unasked) return watches_.tells(answer);
  const auto found = open_.find({answer.client, answer.answer.id.value_or(0)});
  const bool waits = std::holds_alternative<message::WaitForResponse>(answer.answer.body);
  world_.check(Rule::one_final_answer, found != open_.end() && !(waits && found->second.waits), [&] {
    return node + " answers client " + std::to_string(answer.client) + ", request " +
           std::to_string(answer.answer.id.value_or(0)) + ", once too often";
  });
  if (waits) {
    found->second.waits = true;
    return;
  }
  const OpenRequest open = std::move(found->second);
  open_.erase(found);
  const bool is_event = std::holds_alternative<message::SharedEvent>(answer.answer.body) ||
                        std::holds_alternative<message::Event>(answer.answer.body);
  world_.check(Rule::one_final_answer, !is_event, [&] { return node + " takes an event for an answer"; });
  std::visit([&](const auto& body) { check_answer(open, body); }, answer.answer.body);
}

void Judge::check_on_majority(const std::string& node, std::uint64_t ts) {
  const std::size_t on_disks = ts >= 1 && ts <= committed_.size() ? copies(ts, committed_[ts - 1]) : 0;
  world_.check(Rule::answer_on_majority, on_disks > world_.plan.nodes / 2, [&] {
    return node + " has answered a write at " + std::to_string(ts) + ", which is on " + std::to_string(on_disks) +
           " disks";
  });
  told_ = std::max(told_, ts);
}

void Judge::check_answer(const OpenRequest& open, const message::PutOk& ok) {
  check_on_majority(open.node, ok.ts);
  const auto* put = std::get_if<message::Put>(&open.request.body);
  const Model::Effect* effect = model_.effect(ok.ts);
  world_.check(
      Rule::state_as_modelled, put && effect && effect->key == put->key && effect->value == put->value, [&] {
        return open.node + " answers PUT_OK " + std::to_string(ok.ts) + ", where the log holds something else";
      });
}

void Judge::check_answer(const OpenRequest& open, const message::DeleteOk& ok) {
  check_on_majority(open.node, ok.ts);
  const auto* del = std::get_if<message::Delete>(&open.request.body);
  const Model::Effect* effect = model_.effect(ok.ts);
  world_.check(Rule::state_as_modelled,
               del && effect && effect->key == del->key && !effect->value && effect->found == ok.found, [&] {
                 return open.node + " answers DELETE_OK " + std::to_string(ok.ts) +
                        ", where the log holds something else";
               });
}

// It is the transaction of that position, done there for the first time, with all that its operations came to
// there.
void Judge::check_answer(const OpenRequest& open, const message::TxnOk& ok) {
  check_on_majority(open.node, ok.ts);
  const auto* asked = std::get_if<message::Txn>(&open.request.body);
  const Model::TxnEffect* effect = model_.txn(ok.ts);
  const bool is_true =
      asked && effect && effect->succeeded == ok.succeeded && is_same(*asked, effect->txn) &&
      std::equal(ok.results.begin(), ok.results.end(), effect->results.begin(), effect->results.end(),
                 [](const auto& told, const auto& result) {
                   return told.value == result.value && told.ts == result.ts && told.found == result.found;
                 });
  world_.check(Rule::txn_as_modelled, is_true, [&] {
    return open.node + " answers TXN_OK " + std::to_string(ok.ts) + ", where the log has another result";
  });
}

void Judge::check_answer(const OpenRequest& open, const message::WatchOk& ok) {
  watches_.answers(open.client, open.request.id, ok);
}

void Judge::check_answer(const OpenRequest& open, const message::CancelOk& ok) {
  watches_.answers(open.client, ok);
}

void Judge::check_answer(const OpenRequest& open, const message::Error& error) {
  if (std::holds_alternative<message::Watch>(open.request.body)) {
    watches_.answers(open.client, open.request.id, error);
  }
  if (!says_no(error.code)) return;
  for (const std::string& value : values_without_session(open.request)) {
    refused_.insert(value);
    world_.check(Rule::no_means_no, !committed_values_.contains(value), [&] {
      return open.node + " refuses the write of '" + value + "' (" + std::string(message::name_of(error.code)) +
             "), which is committed";
    });
  }
}

void Judge::all_answered() {
  for (const auto& [key, open] : open_) {
    world_.check(Rule::every_request_answered, false, [&] {
      return open.node + " has never answered client " + std::to_string(key.first) + ", request " +
             std::to_string(key.second);
    });
  }
  world_.coverage.note(Rule::every_request_answered);
}

}  // namespace kv::sim

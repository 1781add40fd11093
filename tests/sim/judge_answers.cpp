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

constexpr std::uint64_t allowance = 5;  // ticks that an answer may come late

}  // namespace

void Judge::asked(const std::string& node, ClientId client, const message::Request& request) {
  const std::uint64_t due = ticks_[node] + request.timeout_ms.value_or(default_timeout_ms) / tick_ms + allowance;
  open_[{client, request.id}] = {node, request, told_, false, due};
  const auto* put = std::get_if<message::Put>(&request.body);
  if (put && !put->session) sent_order_[put->value] = {client, next_order_++};
  const auto* get = std::get_if<message::Get>(&request.body);
  if (!get) return;
  const auto found = told_of_key_.find(get->key);
  if (found != told_of_key_.end()) {
    auto& floor = open_[{client, request.id}].floor;
    floor = std::max(floor, found->second);
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
  for (const auto& [key, open] : open_) {
    world_.check(Rule::every_request_answered, open.node != node, [&] {
      return node + " has stopped in order and has not answered client " + std::to_string(key.first) +
             ", request " + std::to_string(key.second);
    });
  }
}

void Judge::gone(ClientId client) {
  gone_.insert(client);
  open_.erase(open_.lower_bound({client, 0}), open_.lower_bound({client + 1, 0}));
}

void Judge::answers(const std::string& node, const ClientAnswer& answer) {
  if (gone_.contains(answer.client)) return;  // nobody hears it
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
  const auto& body = answer.answer.body;
  if (const auto* ok = std::get_if<message::PutOk>(&body)) check_answer(open, *ok);
  if (const auto* ok = std::get_if<message::DeleteOk>(&body)) check_answer(open, *ok);
  if (const auto* ok = std::get_if<message::GetOk>(&body)) check_answer(open, *ok);
  if (const auto* error = std::get_if<message::Error>(&body)) check_answer(open, *error);
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

void Judge::check_answer(const OpenRequest& open, const message::GetOk& ok) {
  const auto& get = std::get<message::Get>(open.request.body);
  const Model::Version* version = ok.applied <= committed_.size() ? model_.at(get.key, ok.applied) : nullptr;
  const bool absent = !version || !version->value;
  const bool is_true =
      ok.applied <= committed_.size() && ok.key == get.key &&
      (absent ? !ok.value && ok.ts == 0 : ok.value == version->value && ok.ts == version->position);
  world_.check(Rule::read_is_true, is_true, [&] {
    return open.node + " says that '" + get.key + "' was '" + ok.value.value_or("(absent)") + "' of " +
           std::to_string(ok.ts) + " at position " + std::to_string(ok.applied) + ", the log says otherwise";
  });
  if (get.consistency == message::Consistency::session) {
    world_.check(Rule::read_is_fresh, ok.applied >= get.ts, [&] {
      return open.node + " has applied " + std::to_string(ok.applied) + " and answers a read that asked for " +
             std::to_string(get.ts);
    });
  }
  if (get.consistency != message::Consistency::linearizable) return;
  world_.check(Rule::read_is_current, ok.applied >= open.floor, [&] {
    return open.node + " answers a linearizable read at " + std::to_string(ok.applied) +
           ", though a client had been told of " + std::to_string(open.floor) + " before it asked";
  });
  std::uint64_t& told = told_of_key_[get.key];
  told = std::max(told, ok.ts);
}

void Judge::check_answer(const OpenRequest& open, const message::Error& error) {
  const auto* put = std::get_if<message::Put>(&open.request.body);
  if (!put || put->session || !says_no(error.code)) return;
  refused_.insert(put->value);
  world_.check(Rule::no_means_no, !committed_values_.contains(put->value), [&] {
    return open.node + " refuses the write of '" + put->value + "' (" + std::string(message::name_of(error.code)) +
           "), which is committed";
  });
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

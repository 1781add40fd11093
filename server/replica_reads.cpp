// What clients read: at once, when this server has caught up, or when a leader has confirmed how far it must.
//
// A linearizable read first needs a position (dissertation §6.4): the leader's own from the core, another
// server's from the leader, one question for all that gathered meanwhile. From then on it is a read that
// waits for a position, like every other.
#include <algorithm>
#include <iterator>
#include <utility>

#include "server/replica.hpp"

namespace kv {
namespace {

constexpr std::size_t bytes_of_an_answer = 128;  // beside key and value
// Of a LIST_OK's items: so that it fits into a client's frame.
constexpr std::size_t max_list_bytes = (4 << 20) - 1024;

}  // namespace

template <class Asked>
void Replica::read(ClientId client, message::Request& request, Asked&& asked) {
  const message::Consistency consistency = asked.consistency;
  const std::uint64_t ts = asked.ts;
  ParkedRead read{client, request.id, std::move(asked), deadline_of(request.timeout_ms)};
  switch (consistency) {
    case message::Consistency::local:
      answer_read(std::move(read));
      return;
    case message::Consistency::session:
      read_session(std::move(read), ts);
      return;
    case message::Consistency::linearizable:
      break;
  }
  if (refuse_if_too_many(read)) return;
  const std::uint64_t deadline = read.deadline;
  expect(deadline);
  unplaced_.emplace(next_number_++, UnplacedRead{std::move(read), deadline});
}

template void Replica::read(ClientId client, message::Request& request, message::Get&& asked);
template void Replica::read(ClientId client, message::Request& request, message::List&& asked);

void Replica::read_session(ParkedRead&& read, std::uint64_t ts) {
  if (ts <= applied_.value) {
    answer_read(std::move(read));
    return;
  }
  if (refuse_if_too_many(read)) return;
  tell_of_wait(read, ts);
  park(ts, std::move(read));
}

bool Replica::refuse_if_too_many(const ParkedRead& read) {
  if (waiting_reads() < config_.limits.parked_reads) return false;
  refuse(read.client, read.id, message::Code::overloaded,
         config_.self.node + " has too many waiting reads: try another server");
  return true;
}

// Once, whatever it waits for afterwards.
void Replica::tell_of_wait(ParkedRead& read, std::uint64_t ts) {
  if (std::exchange(read.is_told, true)) return;
  const message::Get* get = read.get();
  answer(read.client, read.id,
         message::WaitForResponse{get ? get->key : std::string(), ts, applied_.value, config_.self.node});
}

void Replica::answer_read(ParkedRead&& read) {
  if (const auto* list = std::get_if<message::List>(&read.asked)) {
    answer_list(read, *list);
  } else if (const message::Get& get = *read.get(); get.newer_than && !is_newer(get)) {
    wait_for_newer(std::move(read));
  } else {
    answer_get(read, get);
  }
}

void Replica::answer_get(const ParkedRead& read, const message::Get& get) {
  message::GetOk ok;
  ok.key = get.key;
  ok.applied = applied_.value;
  ok.node = config_.self.node;
  pending_answer_bytes_ += get.key.size() + bytes_of_an_answer;
  if (const Item* item = store_->find(get.key)) {
    ok.value = item->value();
    ok.ts = item->ts();
    pending_answer_bytes_ += item->value().size();
  } else if (get.newer_than) {
    ok.ts = store_->deleted_at(get.key);
  }
  answer(read.client, read.id, std::move(ok));
}

void Replica::answer_list(const ParkedRead& read, const message::List& list) {
  const std::uint64_t limit = std::min(list.limit.value_or(max_list_items), max_list_items);
  const Store::Page page = store_->list(list.prefix, list.after, limit, max_list_bytes, list.keys_only);
  message::ListOk ok{{}, page.more, applied_.value, config_.self.node};
  ok.items.reserve(page.items.size());
  for (const Item* item : page.items) {
    ok.items.push_back({std::string(item->key()),
                        list.keys_only ? std::nullopt : std::optional<std::string>(item->value()), item->ts()});
  }
  pending_answer_bytes_ += page.bytes + bytes_of_an_answer;
  answer(read.client, read.id, std::move(ok));
}

// ---- A key's next version

// Whether there is a version with a greater ts, a deletion included; or it is not known any more whether there was.
bool Replica::is_newer(const message::Get& get) const {
  const std::uint64_t than = *get.newer_than;
  if (const Item* item = store_->find(get.key)) return item->ts() > than;
  return store_->deleted_at(get.key) > than || than < store_->deletions_floor();
}

void Replica::wait_for_newer(ParkedRead read) {
  if (refuse_if_too_many(read)) return;
  tell_of_wait(read, *read.get()->newer_than);
  const std::uint64_t number = next_number_++;
  expect(read.deadline);
  clients_[read.client].newer.insert(number);
  newer_by_key_[read.get()->key].insert(number);
  newer_.emplace(number, std::move(read));
}

// They are answered with the other reads that are due; what one command wakes may be more than one turn's.
void Replica::wake_newer(std::string_view key) {
  const auto found = newer_by_key_.find(key);
  if (found == newer_by_key_.end()) return;
  for (const std::uint64_t number : found->second) park_newer(newer_.extract(number));
  newer_by_key_.erase(found);
}

// What became of their keys meanwhile has to be looked at anew.
void Replica::wake_all_newer() {
  newer_by_key_.clear();
  while (!newer_.empty()) park_newer(newer_.extract(newer_.begin()));
}

void Replica::park_newer(std::map<std::uint64_t, ParkedRead>::node_type read) {
  clients_[read.mapped().client].newer.erase(read.key());
  park(store_->position(), std::move(read.mapped()));
}

void Replica::forget_newer(std::uint64_t number) {
  const auto found = newer_.find(number);
  const auto of_key = newer_by_key_.find(found->second.get()->key);
  of_key->second.erase(number);
  if (of_key->second.empty()) newer_by_key_.erase(of_key);
  newer_.erase(found);
}

// ---- Waiting for a position

void Replica::park(std::uint64_t position, ParkedRead read) {
  const ParkKey key{position, next_number_++};
  clients_[read.client].parked.insert(key);
  expect(read.deadline);
  parked_.emplace(key, std::move(read));
}

void Replica::wake_reads() {
  // What is due beyond this waits for the next turn: one write may wake more than should be in memory at once.
  while (reads_are_due() && pending_answer_bytes_ < answer_bytes_a_turn) {
    auto node = parked_.extract(parked_.begin());
    clients_[node.mapped().client].parked.erase(node.key());
    answer_read(std::move(node.mapped()));
  }
}

void Replica::place_reads() {
  if (unplaced_.empty()) return;
  if (raft_.leads()) {
    for (auto& [number, read] : std::exchange(unplaced_, {})) {
      raft_.read(number);
      asked_raft_.emplace(number, std::move(read));
    }
    return;
  }
  // A peer asked this server as its leader, which it no longer is.
  std::erase_if(unplaced_, [this](const auto& item) {
    const auto* peer = std::get_if<ForPeer>(&item.second.read);
    if (!peer) return false;
    fail_write(*peer, message::Code::no_leader, config_.self.node + " does not lead");
    return true;
  });
  if (question_ || unplaced_.empty()) return;
  const auto leader = reachable_leader();
  if (!leader) return;
  message::Forward forward;
  forward.number = next_number_++;
  forward.term = raft_.term().value;
  forward.timeout_ms = config_.election_ticks * tick_ms;  // then it is asked again
  forward.request = message::ReadIndex{};
  question_ = Question{forward.number, *leader, raft_.term(), now_};
  asked_leader_ = std::exchange(unplaced_, {});
  effects_.send.push_back({*leader, std::move(forward)});
}

void Replica::place(UnplacedRead unplaced, std::uint64_t index) {
  if (const auto* peer = std::get_if<ForPeer>(&unplaced.read)) {
    message::ForwardOk ok;
    ok.number = peer->number;
    ok.answer = message::ReadIndexOk{index};
    effects_.send.push_back({peer->peer, std::move(ok)});
    return;
  }
  park(index, std::move(std::get<ParkedRead>(unplaced.read)));  // and is woken with the others
}

// The question's answer can't be trusted to come: what waits for it asks again.
void Replica::ask_leader_again() {
  question_.reset();
  unplaced_.merge(asked_leader_);
  asked_leader_.clear();
}

// Leadership was lost before a majority confirmed the read.
void Replica::drop_read(std::uint64_t number) {
  if (auto node = asked_raft_.extract(number)) unplaced_.insert(std::move(node));
}

void Replica::fail_newer(const ParkedRead& read) {
  const message::Get& get = *read.get();
  const Item* item = store_->find(get.key);
  const std::uint64_t current = item ? item->ts() : store_->deleted_at(get.key);
  const std::string of_key = item           ? "the key's ts is " + std::to_string(current)
                             : current != 0 ? "the key was deleted at " + std::to_string(current)
                                            : std::string("the key is absent");
  message::Error error =
      message::make_error(message::Code::timeout, "no version newer than " + std::to_string(*get.newer_than) +
                                                      " came in time: " + of_key + " on " + config_.self.node +
                                                      ", which has applied " + std::to_string(applied_.value));
  error.applied = applied_.value;
  error.ts = current;
  error.leader = raft_.leader().name;
  answer(read.client, read.id, std::move(error));
}

void Replica::fail_read(const ParkedRead& read, std::uint64_t position) {
  const std::string leader = raft_.leader().name;
  message::Error error;
  error.applied = applied_.value;
  error.ts = position;
  error.leader = leader;
  const std::string of_leader =
      leader.empty() ? "no leader is known: " + why_no_leader() : "the leader is " + leader;
  if (position != 0) {
    error.code = message::Code::timeout;
    error.message = config_.self.node + " has applied " + std::to_string(applied_.value) + ", you asked for " +
                    std::to_string(position) + "; " + of_leader + ": try another server";
  } else {
    error.code = leader.empty() ? message::Code::no_leader : message::Code::timeout;
    error.message = config_.self.node + " could not confirm with a majority what is the latest; " + of_leader;
  }
  answer(read.client, read.id, std::move(error));
}

void Replica::expire_reads() {
  for (auto it = parked_.begin(); it != parked_.end();) {
    const auto next = std::next(it);
    if (it->second.deadline > now_) {
      expect(it->second.deadline);
    } else {
      fail_read(it->second, it->first.first);
      clients_[it->second.client].parked.erase(it->first);
      parked_.erase(it);
    }
    it = next;
  }
  for (auto it = newer_.begin(); it != newer_.end();) {
    const auto next = std::next(it);
    if (it->second.deadline > now_) {
      expect(it->second.deadline);
    } else {
      fail_newer(it->second);
      clients_[it->second.client].newer.erase(it->first);
      forget_newer(it->first);
    }
    it = next;
  }
  for (auto* reads : {&unplaced_, &asked_raft_, &asked_leader_}) {
    std::erase_if(*reads, [this](const auto& item) {
      const UnplacedRead& unplaced = item.second;
      if (unplaced.deadline > now_) {
        expect(unplaced.deadline);
        return false;
      }
      // A peer has asked again by now, or given up by the same clock.
      if (const auto* read = std::get_if<ParkedRead>(&unplaced.read)) fail_read(*read, 0);
      return true;
    });
  }
}

std::size_t Replica::waiting_reads() const {
  return parked_.size() + newer_.size() + unplaced_.size() + asked_raft_.size() + asked_leader_.size();
}

}  // namespace kv

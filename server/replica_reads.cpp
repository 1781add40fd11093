// What clients read: at once, when this server has caught up, or when a leader has confirmed how far it must.
//
// A linearizable read first needs a position (dissertation §6.4): the leader's own from the core, another
// server's from the leader, one question for all that gathered meanwhile. From then on it is a read that
// waits for a position, like every other.
#include <iterator>
#include <utility>

#include "server/replica.hpp"

namespace kv {
namespace {

constexpr std::size_t answer_bytes_a_turn = 1 << 20;
constexpr std::size_t bytes_of_an_answer = 128;  // beside key and value

}  // namespace

void Replica::get(ClientId client, message::Request& request, message::Get get) {
  const message::Consistency consistency = get.consistency;
  ParkedRead read{client, request.id, std::move(get), deadline_of(request.timeout_ms)};
  switch (consistency) {
    case message::Consistency::local:
      answer_get(read);
      return;
    case message::Consistency::session:
      get_session(std::move(read));
      return;
    case message::Consistency::linearizable:
      break;
  }
  if (refuse_if_too_many(read)) return;
  const std::uint64_t deadline = read.deadline;
  expect(deadline);
  unplaced_.emplace(next_number_++, UnplacedRead{std::move(read), deadline});
}

void Replica::get_session(ParkedRead read) {
  const std::uint64_t ts = read.get.ts;
  if (ts <= applied_.value) {
    answer_get(read);
    return;
  }
  if (refuse_if_too_many(read)) return;
  answer(read.client, read.id, message::WaitForResponse{read.get.key, ts, applied_.value, config_.self.node});
  park(ts, std::move(read));
}

bool Replica::refuse_if_too_many(const ParkedRead& read) {
  if (waiting_reads() < config_.limits.parked_reads) return false;
  refuse(read.client, read.id, message::Code::overloaded,
         config_.self.node + " has too many waiting reads: try another server");
  return true;
}

void Replica::answer_get(const ParkedRead& read) {
  message::GetOk ok;
  ok.key = read.get.key;
  ok.applied = applied_.value;
  ok.node = config_.self.node;
  pending_answer_bytes_ += read.get.key.size() + bytes_of_an_answer;
  if (const Item* item = store_->find(read.get.key)) {
    ok.value = item->value();
    ok.ts = item->ts();
    pending_answer_bytes_ += item->value().size();
  }
  answer(read.client, read.id, std::move(ok));
}

void Replica::park(std::uint64_t position, ParkedRead read) {
  const ParkKey key{position, next_number_++};
  clients_[read.client].parked.insert(key);
  expect(read.deadline);
  parked_.emplace(key, std::move(read));
}

void Replica::wake_reads() {
  // What is due beyond this waits for the next turn: one write may wake more than should be in memory at once.
  while (has_more() && pending_answer_bytes_ < answer_bytes_a_turn) {
    const auto node = parked_.extract(parked_.begin());
    clients_[node.mapped().client].parked.erase(node.key());
    answer_get(node.mapped());
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

void Replica::fail_read(const ParkedRead& read, std::uint64_t position) {
  const std::string leader = raft_.leader().name;
  message::Error error;
  error.applied = applied_.value;
  error.ts = position;
  error.leader = leader;
  const std::string of_leader = leader.empty() ? "no leader is known" : "the leader is " + leader;
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
  return parked_.size() + unplaced_.size() + asked_raft_.size() + asked_leader_.size();
}

}  // namespace kv

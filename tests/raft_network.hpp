// A few servers and the messages between them, in memory; after each step the rules of Raft's figure 3 are checked.
#pragma once

#include <algorithm>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "tests/raft_fixture.hpp"

namespace kv::raft_test {

struct Flying {
  int from = 0;
  int to = 0;
  Message message;
};

class Network {
 public:
  explicit Network(int size, std::uint64_t seed = 1) : size_(size) {
    for (int n = 1; n <= size; ++n) configs_.push_back(config(n, size));
    for (Config& c : configs_) c.seed += 1000 * seed;
    servers_.resize(configs_.size());
    committed_by_.resize(configs_.size());
    for (int n = 1; n <= size; ++n) restart(n);
  }

  int size() const { return size_; }
  Server& operator[](int n) { return *servers_.at(at(n)); }
  bool up(int n) const { return servers_.at(at(n)) != nullptr; }
  std::deque<Flying>& flying() { return flying_; }         // on its way
  Config& config_of(int n) { return configs_.at(at(n)); }  // holds from the next start on

  // ---- Faults

  void cut(int from, int to) { cut_.insert({from, to}); }  // one way
  void cut_both(int a, int b) {
    cut(a, b);
    cut(b, a);
  }
  void isolate(int n) {
    for (int other = 1; other <= size_; ++other) cut_both(n, other);
  }
  void heal() { cut_.clear(); }
  // The write under way is lost.
  void crash(int n) {
    disks_[n] = (*this)[n].disk;
    servers_.at(at(n)).reset();
  }
  void start_with(int n, Disk disk) {
    disks_[n] = std::move(disk);
    restart(n);
  }
  void restart(int n) {
    committed_by_.at(at(n)) = 0;
    servers_.at(at(n)) = std::make_unique<Server>(configs_.at(at(n)), disks_[n]);
    collect();
  }

  // ---- Time and messages

  // Takes what the servers have sent on its way, and checks the rules.
  void collect() {
    for (int n = 1; n <= size_; ++n) {
      if (!up(n)) continue;
      for (Envelope& envelope : std::exchange((*this)[n].sent, {})) {
        flying_.push_back({n, std::stoi(envelope.peer.name.substr(1)), std::move(envelope.message)});
      }
    }
    check();
  }
  void deliver(const Flying& message) {
    if (up(message.to) && !cut_.contains({message.from, message.to})) {
      (*this)[message.to].receive(message.from, message.message);
    }
    collect();
  }
  // Until nothing is on its way.
  void settle() {
    for (collect(); !flying_.empty();) {
      const Flying next = std::move(flying_.front());
      flying_.pop_front();
      deliver(next);
    }
  }
  void tick(int count = 1) {
    for (; count > 0; --count) {
      for (int n = 1; n <= size_; ++n) {
        if (!up(n)) continue;
        (*this)[n].tick();
        collect();
      }
      settle();
    }
  }
  // The leader of the highest term; 0: nobody leads.
  int leader() {
    int found = 0;
    for (int n = 1; n <= size_; ++n) {
      if (up(n) && (*this)[n].raft.leads() && (!found || (*this)[n].term() > (*this)[found].term())) found = n;
    }
    return found;
  }
  int wait_for_leader(int ticks = 100) {
    for (; ticks > 0 && !leader(); --ticks) tick();
    REQUIRE(leader() != 0);
    return leader();
  }
  // n stands, wins and commits its first entry.
  void elect(int n) {
    for (int i = 0; i < 40 && (*this)[n].raft.role() != Role::pre_candidate; ++i) {
      (*this)[n].tick();
      for (int other = 1; other <= size_; ++other) {
        if (other != n && up(other) && (*this)[other].raft.leader() != id(other)) (*this)[other].tick();
      }
      if ((*this)[n].raft.role() == Role::pre_candidate) break;
      drop_all_but_from(n);
    }
    settle();
    REQUIRE((*this)[n].raft.leads());
  }
  std::uint64_t most_committed() const { return committed_.size(); }

  // ---- Raft figure 3, held against every state

  void check() {
    for (int n = 1; n <= size_; ++n) {
      if (up(n)) check(n, (*this)[n]);
    }
    if (++checks_ % 16 == 0) check_log_matching();
  }

 private:
  static std::size_t at(int n) { return static_cast<std::size_t>(n - 1); }

  void drop_all_but_from(int n) {
    collect();
    std::erase_if(flying_, [n](const Flying& message) { return message.from != n; });
  }

  void check(int n, Server& server) {
    if (server.raft.leads()) check_leader(n, server);
    std::size_t& seen = committed_by_.at(at(n));
    REQUIRE(server.applied.size() >= seen);
    for (; seen < server.applied.size(); ++seen) check_committed(server.applied[seen]);
  }

  void check_leader(int n, const Server& server) {
    const auto [known, is_new] = leaders_.emplace(server.term(), n);
    REQUIRE(known->second == n);  // election safety
    if (!is_new) return;
    for (const Entry& e : committed_) {  // leader completeness
      if (e.term >= server.term()) continue;
      REQUIRE(server.raft.log().term_at(e.index) == e.term);
    }
  }

  void check_committed(const Entry& e) {
    if (e.index.value <= committed_.size()) {  // state machine safety
      const Entry& first = committed_[e.index.value - 1];
      REQUIRE(first.term == e.term);
      REQUIRE((first.command == e.command));
      return;
    }
    committed_.push_back(e);
    int durable = 0;
    for (int n = 1; n <= size_; ++n) {
      const std::vector<Entry>& kept = up(n) ? (*this)[n].disk.entries : disks_[n].entries;
      if (kept.size() >= e.index.value && kept[e.index.value - 1].term == e.term) ++durable;
    }
    REQUIRE(durable > size_ / 2);
  }

  void check_log_matching() {
    struct Seen {
      Entry entry;
      Term before;
    };
    std::map<std::pair<Index, Term>, Seen> seen;
    for (int n = 1; n <= size_; ++n) {
      if (!up(n)) continue;
      const Log& log = (*this)[n].raft.log();
      for (Index i = log.first_index(); i <= log.last_index(); i = i.next()) {
        const Entry& e = log.at(i);
        const Term before = *log.term_at(i.previous());
        const auto found = seen.emplace(std::pair{i, e.term}, Seen{e, before}).first;
        REQUIRE((found->second.entry.command == e.command));
        REQUIRE(found->second.before == before);
      }
    }
  }

  int size_;
  std::vector<Config> configs_;
  std::vector<std::unique_ptr<Server>> servers_;
  std::map<int, Disk> disks_;
  std::deque<Flying> flying_;
  std::set<std::pair<int, int>> cut_;
  std::map<Term, int> leaders_;
  std::vector<Entry> committed_;
  std::vector<std::size_t> committed_by_;  // how much of each server's applied entries was checked
  std::uint64_t checks_ = 0;
};

}  // namespace kv::raft_test

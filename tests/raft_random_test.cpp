// Random schedules over a small network: messages that are lost, doubled and overtaken, disks that are slow,
// crashes, partitions, clocks that go slowly, transfers. The network checks Raft's rules after each step; here it
// is checked besides that reads are linearizable, and that the cluster answers again once it is left in peace. A
// run is a function of its seed.
#include <set>
#include <string>

#include "tests/raft_network.hpp"

using namespace kv::raft_test;

namespace {

// SplitMix64 (Steele, Lea and Flood).
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}
  std::uint64_t below(std::uint64_t bound) {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return (z ^ (z >> 31)) % bound;
  }
  bool percent(std::uint64_t chance) { return below(100) < chance; }

 private:
  std::uint64_t state_;
};

class Schedule {
 public:
  explicit Schedule(std::uint64_t seed) : random_(seed), network_(draw_size(random_), seed) {
    // Each seed leaves out a random half of the faults.
    for (bool* fault :
         {&reorders_, &loses_, &doubles_, &crashes_, &cuts_, &slow_disks_, &slow_clocks_, &transfers_}) {
      *fault = random_.percent(50);
    }
    for (int n = 1; n <= network_.size(); ++n) {
      Config& c = network_.config_of(n);
      c.limits.max_in_flight = 1 + random_.below(4);
      c.limits.max_append_bytes = 1 + random_.below(6);
      c.limits.max_write_bytes = 1 + random_.below(30);
      c.stands_first = n == 1 && random_.percent(30);
      network_.crash(n);
      network_.restart(n);
    }
  }

  void run(int steps) {
    for (; steps > 0; --steps) {
      step();
      network_.collect();
      check_reads();
    }
  }

  // The faults end: within five of the largest election timeouts there is a leader that commits.
  void heal_and_check() {
    slow_clock_ = 0;
    network_.heal();
    network_.flying().clear();
    for (int n = 1; n <= network_.size(); ++n) {
      if (!network_.up(n)) restart(n);
      network_[n].let_disk_catch_up();
    }
    network_.tick(5 * 20);
    const int leader = network_.leader();
    REQUIRE(leader != 0);
    const std::optional<Index> last = network_[leader].propose({"the end"});
    REQUIRE(last);
    REQUIRE(network_[leader].read(1'000'000));
    network_.tick(10);
    for (int n = 1; n <= network_.size(); ++n) {
      CHECK(network_[n].raft.commit() == *last);
      CHECK(terms_of(network_[n].raft.log()) == terms_of(network_[leader].raft.log()));
    }
    CHECK(network_[leader].reads.back().id == 1'000'000);
    check_reads();
  }

  std::uint64_t committed() const { return network_.most_committed(); }
  std::size_t reads_served() const { return answered_.size(); }

 private:
  static int draw_size(Random& random) { return static_cast<int>(1 + 2 * random.below(3)); }

  int any() { return static_cast<int>(1 + random_.below(static_cast<std::uint64_t>(network_.size()))); }

  void step() {
    const int n = any();
    const std::uint64_t what = random_.below(100);
    if (what < 52) return deliver_one();
    if (what < 57) return rare_fault(n);
    if (!network_.up(n)) return;
    Server& server = network_[n];
    if (what < 77) {
      if (n != slow_clock_ || random_.percent(10)) server.tick();
    } else if (what < 85) {
      server.propose({std::to_string(next_++)});
    } else if (what < 92) {
      read(server);
    } else if (server.writing) {
      server.finish_write();
      server.slow_disk = slow_disks_ && random_.percent(90);
    } else {
      server.slow_disk = slow_disks_ && random_.percent(60);
    }
  }

  void deliver_one() {
    std::deque<Flying>& flying = network_.flying();
    if (flying.empty()) return;
    const std::size_t which = reorders_ ? random_.below(flying.size()) : 0;
    const Flying message = flying[which];
    const bool twice = doubles_ && flying.size() < 200 && random_.percent(15);
    if (!twice) flying.erase(flying.begin() + static_cast<std::ptrdiff_t>(which));
    if (loses_ && random_.percent(5)) return;
    network_.deliver(message);
  }

  void rare_fault(int n) {
    switch (random_.below(20)) {
      case 0:
        if (crashes_ && network_.up(n)) network_.crash(n);
        return;
      case 1:
      case 2:
        if (!network_.up(n)) restart(n);
        return;
      case 3:
        if (cuts_) network_.cut(n, any());
        return;
      case 4:
      case 5:
        if (cuts_) isolate(n);
        return;
      case 6:
        return network_.heal();
      case 7:
        if (transfers_ && network_.up(n)) network_[n].transfer(any());
        return;
      case 8:
      case 9:
        if (slow_clocks_) slow_clock_ = random_.percent(50) ? network_.leader() : 0;
        return;
      default:
        if (network_.up(n)) network_[n].raft.link_changed(id(any()));
    }
  }

  // The leader more often than others, and its clock may be slow, so that it learns late that it was replaced.
  void isolate(int n) {
    const int leader = network_.leader();
    if (leader && random_.percent(70)) n = leader;
    network_.isolate(n);
    if (slow_clocks_ && random_.percent(50)) slow_clock_ = n;
  }

  void restart(int n) {
    seen_reads_.erase(n);
    network_.restart(n);
  }

  void read(Server& server) {
    const std::uint64_t number = next_read_++;
    asked_.push_back(network_.most_committed());
    if (!server.read(number)) asked_.back() = UINT64_MAX;  // not taken: must not be answered
  }

  // A read is served at a position no older than what anyone knew to be committed when it was asked, and once.
  void check_reads() {
    for (int n = 1; n <= network_.size(); ++n) {
      if (!network_.up(n)) continue;
      const std::vector<Output::SafeRead>& reads = network_[n].reads;
      for (std::size_t& seen = seen_reads_[n]; seen < reads.size(); ++seen) {
        if (reads[seen].id >= asked_.size()) continue;
        REQUIRE(reads[seen].index.value >= asked_[reads[seen].id]);
        REQUIRE(answered_.insert(reads[seen].id).second);
      }
    }
  }

  Random random_;
  Network network_;
  bool reorders_ = false;
  bool loses_ = false;
  bool doubles_ = false;
  bool crashes_ = false;
  bool cuts_ = false;
  bool slow_disks_ = false;
  bool slow_clocks_ = false;
  bool transfers_ = false;
  int slow_clock_ = 0;  // whose time goes by at a tenth of the others'; 0: nobody's
  std::uint64_t next_ = 1;
  std::uint64_t next_read_ = 0;
  std::vector<std::uint64_t> asked_;  // by the read's number: what was committed then
  std::map<int, std::size_t> seen_reads_;
  std::set<std::uint64_t> answered_;
};

}  // namespace

TEST_CASE("raft: on random schedules every rule holds, reads are linearizable, and peace brings progress") {
  std::uint64_t committed = 0;
  std::size_t reads_served = 0;
  for (std::uint64_t seed = 1; seed <= 120; ++seed) {
    INFO("seed " << seed);
    Schedule schedule(seed);
    schedule.run(1000);
    schedule.heal_and_check();
    committed += schedule.committed();
    reads_served += schedule.reads_served();
  }
  // The schedules are worth something: a good part of what was asked was done.
  CHECK(committed > 500);
  CHECK(reads_served > 100);
}

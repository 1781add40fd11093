// Random requests and random faults on a small cluster, and afterwards: was every request answered once, and
// was every answer true? The simulator (tests/sim) does this with disks and networks that are worse; this one
// takes a second and stays close to the rules of docs/protocol.md.
#include <random>

#include "tests/replica_fixture.hpp"

using namespace kv;
using namespace kv::replica_test;

namespace {

struct Asked {
  ClientId client = 0;
  std::string key;
  bool writes = false;
  bool linearizable = false;
  std::uint64_t at_least = 0;  // the key's ts that a read must not be behind
};

class Run {
 public:
  explicit Run(std::uint32_t seed) : random_(seed) {
    for (std::size_t i = 0; i < 4; ++i) clients_.push_back(cluster_.client(any_node()));
  }

  void step() {
    const std::size_t what = below(100);
    if (what < 35) return write();
    if (what < 50) return read();
    if (what < 80) return cluster_.tick(1 + below(4));
    if (what < 84) return cluster_.cut(any_node(), any_node());
    if (what < 88) return cluster_.hold(any_node(), any_node());
    if (what < 90) return cluster_.stall_disk(any_node());
    if (what < 91) return cluster_.sleep(any_node());
    if (what < 92) return cluster_.crash(any_node());
    if (what < 93) return leave();
    cluster_.heal_everything();
  }

  void finish() {
    cluster_.heal_everything();
    cluster_.tick(500);
    check_answers();
    check_log();
  }

 private:
  std::size_t below(std::size_t limit) { return random_() % limit; }
  std::string any_node() { return "n" + std::to_string(1 + below(3)); }

  // A client that is still connected, in place of one that is not.
  ClientId any_client() {
    ClientId& client = clients_[below(clients_.size())];
    if (!cluster_.is_connected(client)) {
      cluster_.heal_everything();
      client = cluster_.client(any_node());
    }
    return client;
  }

  void write() {
    const ClientId client = any_client();
    for (std::size_t i = 1 + below(4); i > 0; --i) {
      const std::string key = "k" + std::to_string(below(3));
      // The value says which request it was.
      const auto id = cluster_.ask(client, put(key, std::to_string(next_value_)), 1000);
      REQUIRE(id == next_value_++);
      asked_[id] = {client, key, true, false, 0};
    }
    if (below(2) == 0) cluster_.run();
  }

  void read() {
    note_done();
    const ClientId client = any_client();
    const std::string key = "k" + std::to_string(below(3));
    const bool linear = below(2) == 0;
    const std::uint64_t ts = done_[key];
    const auto id = cluster_.ask(client, linear ? linearizable(key) : get(key, ts), 1000);
    REQUIRE(id == next_value_++);
    asked_[id] = {client, key, false, linear, ts};
    if (below(2) == 0) cluster_.run();
  }

  void leave() {
    const ClientId client = clients_[below(clients_.size())];
    if (cluster_.is_connected(client)) cluster_.gone(client);
  }

  // The highest ts of each key that some client has been told of.
  void note_done() {
    for (const auto& [id, asked] : asked_) {
      if (!asked.writes || !cluster_.said(id).starts_with("PUT_OK")) continue;
      done_[asked.key] = std::max(done_[asked.key], cluster_.last<message::PutOk>(id).ts);
    }
  }

  void check_answers() {
    for (const auto& [id, asked] : asked_) {
      const std::string said = cluster_.said(id);
      INFO("request " << id << " of client " << asked.client << ": " << said);
      if (cluster_.is_connected(asked.client)) {
        CHECK(said != "nothing yet");
        CHECK(said != "WAIT_FOR_RESPONSE");
      }
      if (asked.writes || said.find("GET_OK") == std::string::npos) continue;
      const auto ok = cluster_.last<message::GetOk>(id);
      CHECK(ok.key == asked.key);
      CHECK(ok.ts >= asked.at_least);
      CHECK(ok.applied >= asked.at_least);
    }
  }

  // What is in the log is what was answered, once, and each connection's writes stand there as they were sent.
  void check_log() {
    const raft::Raft& raft = cluster_["n1"].raft();
    std::map<std::uint64_t, std::uint64_t> positions;
    std::map<ClientId, std::uint64_t> last_of;
    for (raft::Index index(1); index <= raft.commit(); index = index.next()) {
      const raft::Entry& entry = raft.log().at(index);
      const auto command = entry.command ? command::decode(*entry.command) : std::nullopt;
      const auto* write = command ? std::get_if<command::Put>(&*command) : nullptr;
      if (!write) continue;
      const std::uint64_t id = std::stoull(std::string(write->value));
      INFO("request " << id << " is at " << index.value);
      CHECK(positions.emplace(id, index.value).second);
      CHECK(id > last_of[asked_.at(id).client]);
      last_of[asked_.at(id).client] = id;
    }
    for (const auto& [id, asked] : asked_) {
      const std::string said = cluster_.said(id);
      INFO("request " << id << ": " << said);
      if (said.starts_with("PUT_OK")) CHECK(said == "PUT_OK " + std::to_string(positions[id]));
      const bool says_no = said.starts_with("ERROR") && said != "ERROR UNKNOWN_OUTCOME";
      if (asked.writes && says_no) CHECK_FALSE(positions.contains(id));
    }
  }

  Cluster cluster_;
  std::mt19937 random_;
  std::vector<ClientId> clients_;
  std::map<std::uint64_t, Asked> asked_;
  std::map<std::string, std::uint64_t> done_;
  std::uint64_t next_value_ = 1;
};

}  // namespace

TEST_CASE("Random faults: every request is answered once, and every answer is true", "[replica]") {
  for (std::uint32_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    Run run(seed);
    for (int i = 0; i < 150; ++i) run.step();
    run.finish();
  }
}

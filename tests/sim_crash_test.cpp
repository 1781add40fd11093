// One server and a short history, ended at each of its operations on the simulated disk, one after the other: of
// what was not synced any part survives, torn in the middle of a sector's neighbours, names and lengths too.
#include <catch2/catch.hpp>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "server/recovery.hpp"
#include "tests/sim/disk.hpp"

using namespace kv;
using namespace kv::sim;

namespace {

constexpr ClientId client = 1;
constexpr int writes = 24;

// A server alone, driven without a network or time: whatever it wants done is done at once.
class Server {
 public:
  explicit Server(sim::Disk& disk) {
    WalOptions options;
    options.segment_bytes = 1024;
    options.zeros_ahead_bytes = 512;
    Recovered recovered = recover(disk, options, {}, std::string(36, 'i'));
    REQUIRE(recovered.warnings.empty());
    wal_ = std::move(recovered.wal);
    snapshots_ = std::move(recovered.snapshots);
    ReplicaConfig config;
    config.self = {"n1", std::string(36, 'i'), "n1:7501", "n1:7401"};
    config.names = {"n1"};
    config.new_cluster = "cluster";
    config.snapshot_every = 4;
    config.snapshot_piece_bytes = 100;
    config.limits.kept_entries = 0;
    replica_ = std::make_unique<Replica>(std::move(config), std::move(recovered.replica));
    while (!replica_->raft().leads()) tick();
    tick();
  }

  void tick() {
    replica_->tick();
    run();
  }

  // Whether it was answered.
  bool put(const std::string& key, const std::string& value) {
    answered_ = false;
    replica_->request(client, {1, {}, {}, message::Put{key, value, {}, {}}});
    run();
    return answered_;
  }

  // Whether the last put was, also if it did not live to tell.
  bool has_answered() const { return answered_; }
  const Store& store() const { return replica_->store(); }

 private:
  void run() {
    for (bool busy = true; busy;) {
      Effects effects = replica_->take_effects();
      busy = effects.write || !effects.snapshot_tasks.empty();
      note(effects.answers);
      if (effects.write) write(*effects.write);
      for (SnapshotTask& task : effects.snapshot_tasks) {
        if (auto result = snapshots_->perform(std::move(task))) replica_->snapshot_done(std::move(*result));
      }
    }
  }

  // What is durable is answered, whatever becomes of what the log does afterwards.
  void write(const raft::Write& write) {
    try {
      wal_->append(write, [&] { replica_->written(write.id); });
    } catch (const Interrupted&) {
      note(replica_->take_effects().answers);
      throw;
    }
  }

  void note(const std::vector<ClientAnswer>& answers) {
    for (const ClientAnswer& answer : answers) {
      answered_ = answered_ || std::holds_alternative<message::PutOk>(answer.answer.body);
    }
  }

  std::unique_ptr<Wal> wal_;
  std::unique_ptr<Snapshots> snapshots_;
  std::unique_ptr<Replica> replica_;
  bool answered_ = false;
};

// What was answered, and the one write of which nothing is known.
struct History {
  std::map<std::string, std::string> answered;
  std::pair<std::string, std::string> open;
};

// False: it ended in the middle.
bool live(sim::Disk& disk, History& history) {
  std::optional<Server> server;
  const auto note_answer = [&] {
    if (!server || !server->has_answered()) return;
    history.answered[history.open.first] = history.open.second;
    history.open = {};
  };
  try {
    server.emplace(disk);
    for (int i = 0; i < writes; ++i) {
      history.open = {"k" + std::to_string(i % 3),
                      std::to_string(i) + std::string(static_cast<std::size_t>(i) * 40, '.')};
      server->put(history.open.first, history.open.second);
      note_answer();
    }
    return true;
  } catch (const Interrupted&) {
    note_answer();
    return false;
  }
}

void check_all_is_there(sim::Disk& disk, const History& history) {
  Server server(disk);
  for (const auto& [key, value] : history.answered) {
    const Item* item = server.store().find(key);
    REQUIRE(item != nullptr);
    const bool as_answered = item->value() == value;
    const bool as_open = key == history.open.first && item->value() == history.open.second;
    CHECK((as_answered || as_open));
  }
  // And it goes on from there.
  for (int i = 0; i < 10; ++i) CHECK(server.put("after", std::to_string(i)));
}

}  // namespace

TEST_CASE("A server that loses its process or its power at any operation on its disk has all that was answered",
          "[sim]") {
  std::uint64_t operations = 0;
  for (std::uint64_t n = 1; operations == 0; ++n) {
    for (std::uint64_t variant = 0; variant < 6 && operations == 0; ++variant) {
      CAPTURE(n, variant);
      World world(draw_plan(1000 * n + variant, {}), nullptr);
      sim::Disk disk(world, "disk");
      disk.interrupt_in(n);
      History history;
      if (live(disk, history)) operations = n;
      variant == 0 ? disk.process_ended() : disk.power_lost();
      check_all_is_there(disk, history);
    }
  }
  CHECK(operations > 200);
}

TEST_CASE("Nor does a second end, while it starts again, lose anything", "[sim]") {
  for (std::uint64_t seed = 1; seed <= 400; ++seed) {
    CAPTURE(seed);
    World world(draw_plan(seed, {}), nullptr);
    sim::Disk disk(world, "disk");
    disk.interrupt_in(world.random.between(1, 250));
    History history;
    live(disk, history);
    disk.power_lost();
    for (std::uint64_t n = 1; n <= 3; ++n) {
      disk.interrupt_in(world.random.between(1, 12));
      try {
        Server server(disk);
      } catch (const Interrupted&) {
      }
      world.random.percent(50) ? disk.process_ended() : disk.power_lost();
    }
    check_all_is_there(disk, history);
  }
}

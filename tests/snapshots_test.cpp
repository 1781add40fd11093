// The room that snapshots' files take: when it is given back, and what is not begun without any.
#include "server/snapshots.hpp"

#include <catch2/catch.hpp>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "tests/memory_directory.hpp"

using namespace kv;

namespace {

constexpr std::size_t item_bytes = 1000;

raft::Position at(std::uint64_t index) {
  return {raft::Index(index), raft::Term(1)};
}

// All of a state of so many items, in one part.
std::optional<SnapshotResult> save(Snapshots& snapshots, std::uint64_t index, int items,
                                   std::uint64_t needs_bytes = 0) {
  Store store;
  for (int i = 1; i <= items; ++i) {
    store.apply(static_cast<std::uint64_t>(i),
                command::Put{"k" + std::to_string(i), std::string(item_bytes, 'v'), {}, {}});
  }
  snapshot_task::Save part{at(index), true, needs_bytes, {}, {}};
  store.begin_walk();
  REQUIRE_FALSE(store.walk(SIZE_MAX, part.records));
  part.totals = store.walk_totals();
  return snapshots.perform(std::move(part));
}

void read(Snapshots& snapshots, const SnapshotReader& reader, std::uint64_t index) {
  const auto result = snapshots.perform(snapshot_task::Read{reader, at(index), 0, 0});
  REQUIRE(std::get<snapshot_result::Piece>(*result).size > 0);
}

bool is_saved(const std::optional<SnapshotResult>& result) {
  return std::holds_alternative<snapshot_result::Saved>(*result);
}

}  // namespace

TEST_CASE("snapshots: what is read keeps its bytes until the last reader has gone", "[snapshot]") {
  MemoryDirectory directory;
  Snapshots snapshots(directory, {});
  const SnapshotReader peer{"n2", 0};
  const SnapshotReader client{"", 7};
  save(snapshots, 1, 1);
  read(snapshots, peer, 1);
  read(snapshots, client, 1);
  save(snapshots, 2, 1);
  save(snapshots, 3, 1);
  CHECK(list_snapshots(directory) == std::vector{at(3), at(2)});
  CHECK(snapshots.take_remains().empty());
  SECTION("one says so") {
    snapshots.perform(snapshot_task::Release{peer});
  }
  SECTION("one reads another") {
    read(snapshots, peer, 3);
  }
  CHECK(snapshots.take_remains().empty());
  snapshots.perform(snapshot_task::Release{client});
  CHECK(snapshots.take_remains().size() == 1);
}

TEST_CASE("snapshots: one for which there is no room leaves its bytes to be given back", "[snapshot]") {
  MemoryDirectory directory;
  Snapshots snapshots(directory, {});
  directory.limit_space(200 * item_bytes);
  CHECK_FALSE(is_saved(save(snapshots, 1, 300)));
  CHECK(directory.list().empty());
  CHECK(directory.used() > 0);
  CHECK(snapshots.take_remains().size() == 1);
  CHECK(directory.used() == 0);
}

TEST_CASE("snapshots: one that would not fit is not begun", "[snapshot]") {
  MemoryDirectory directory;
  Snapshots snapshots(directory, {});
  directory.limit_space(20 * item_bytes);
  const std::uint64_t changes = directory.changes();
  CHECK_FALSE(is_saved(save(snapshots, 1, 10, 20 * item_bytes + 1)));
  CHECK(directory.changes() == changes);
  CHECK(is_saved(save(snapshots, 1, 10, 20 * item_bytes)));
}

TEST_CASE("snapshots: what another one has left unfinished is no hindrance", "[snapshot]") {
  MemoryDirectory directory;
  Snapshots snapshots(directory, {});
  directory.limit_space(200 * item_bytes);
  snapshots.perform(snapshot_task::Save{at(1), true, 0, std::string(150 * item_bytes, 'r'), {}});
  REQUIRE(directory.used() > 100 * item_bytes);
  save(snapshots, 2, 10, 150 * item_bytes);
  CHECK(snapshots.take_remains().size() == 1);
  CHECK(is_saved(save(snapshots, 2, 10, 150 * item_bytes)));
}

TEST_CASE("snapshots: a server gets more at once than a client", "[snapshot]") {
  MemoryDirectory directory;
  Snapshots snapshots(directory, {sessions_kept, 100, 400});
  save(snapshots, 1, 1);
  for (const auto& [reader, bytes] : {std::pair{SnapshotReader{"", 7}, 100u}, {SnapshotReader{"n2", 0}, 400u}}) {
    const auto result = snapshots.perform(snapshot_task::Read{reader, at(1), 10, 0});
    CHECK(std::get<snapshot_result::Piece>(*result).bytes.size() == bytes);
  }
}

// The simulator's disk: it must be as bad as a real one, and not worse. Each loss is looked for over many seeds,
// since each happens only sometimes.
#include <catch2/catch.hpp>
#include <functional>
#include <set>

#include "server/wal.hpp"
#include "tests/sim/disk.hpp"

using namespace kv;
using namespace kv::sim;

namespace {

constexpr std::size_t sector = 512;

// What a file holds after `prepare` and then `happens`, over many seeds. "-": it is not there.
std::set<std::string> outcomes(const std::function<void(Disk&)>& prepare,
                               const std::function<void(Disk&)>& happens) {
  std::set<std::string> seen;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    World world(draw_plan(seed, {}), nullptr);
    Disk disk(world, "disk");
    prepare(disk);
    happens(disk);
    const auto names = disk.list();
    std::string all;
    for (const auto& name : names) {
      const std::string bytes = disk.pages(name);
      std::string brief;  // the first byte of each sector
      for (std::size_t at = 0; at < bytes.size(); at += sector) brief += bytes[at] == 0 ? '0' : bytes[at];
      all += name + ":" + brief + " ";
    }
    seen.insert(all.empty() ? "-" : all);
  }
  return seen;
}

std::string sectors(const std::string& letters) {
  std::string bytes;
  for (const char letter : letters) bytes.append(sector, letter);
  return bytes;
}

// A durable file of three sectors "abc".
std::unique_ptr<File> durable_file(Disk& disk) {
  auto file = disk.create("f");
  file->write_at(0, sectors("abc"));
  file->sync();
  disk.sync();
  return file;
}

void lose_power(Disk& disk) {
  disk.power_lost();
}

}  // namespace

TEST_CASE("sim disk: what was synced survives the loss of power", "[sim]") {
  CHECK(outcomes([](Disk& disk) { durable_file(disk); }, lose_power) == std::set<std::string>{"f:abc "});
}

TEST_CASE("sim disk: of what was not synced any subset of the sectors survives", "[sim]") {
  const auto seen = outcomes([](Disk& disk) { durable_file(disk)->write_at(0, sectors("xy")); }, lose_power);
  CHECK(seen == std::set<std::string>{"f:abc ", "f:xbc ", "f:ayc ", "f:xyc "});
}

TEST_CASE("sim disk: a process that ends takes nothing with it", "[sim]") {
  const auto seen = outcomes([](Disk& disk) { durable_file(disk)->write_at(0, sectors("xy")); },
                             [](Disk& disk) { disk.process_ended(); });
  CHECK(seen == std::set<std::string>{"f:xyc "});
}

TEST_CASE("sim disk: a new length may be lost with what is behind it", "[sim]") {
  const auto seen =
      outcomes([](Disk& disk) { durable_file(disk)->write_at(3 * sector, sectors("x")); }, lose_power);
  CHECK(seen == std::set<std::string>{"f:abc ", "f:abc0 ", "f:abcx "});
}

TEST_CASE("sim disk: changes of names survive or not, each by itself", "[sim]") {
  const auto prepare = [](Disk& disk) {
    durable_file(disk);
    disk.rename("f", "g");
    disk.create("h");
  };
  CHECK(outcomes(prepare, lose_power) == std::set<std::string>{"f:abc ", "g:abc ", "f:abc h: ", "g:abc h: "});
  const auto synced = [&](Disk& disk) {
    prepare(disk);
    disk.sync();
  };
  CHECK(outcomes(synced, lose_power) == std::set<std::string>{"g:abc h: "});
}

TEST_CASE("sim disk: a failed sync says so once, and what it dropped only seems to be there", "[sim]") {
  const auto fail = [](Disk& disk) {
    auto file = durable_file(disk);
    file->write_at(0, sectors("xy"));
    disk.fail_sync_in(1);
    CHECK_THROWS_AS(file->sync(), FileError);
    CHECK(disk.pages("f") == sectors("xyc"));
  };
  // Another process syncs the same file, and is told that all is well.
  const auto sync_again = [](Disk& disk) {
    disk.process_ended();
    CHECK_NOTHROW(disk.open("f")->sync());
  };
  const auto seen = outcomes(fail, [&](Disk& disk) {
    sync_again(disk);
    disk.power_lost();
  });
  CHECK(seen == std::set<std::string>{"f:abc ", "f:xbc ", "f:ayc ", "f:xyc "});
  // Written again it is durable.
  const auto mended = outcomes(fail, [&](Disk& disk) {
    disk.process_ended();
    auto file = disk.open("f");
    file->write_at(0, sectors("xy"));
    file->sync();
    disk.power_lost();
  });
  CHECK(mended == std::set<std::string>{"f:xyc "});
}

TEST_CASE("sim disk: who goes on after a failure is caught", "[sim]") {
  World world(draw_plan(1, {}), nullptr);
  Disk disk(world, "disk");
  auto file = durable_file(disk);
  disk.fail_write_in(1);
  CHECK_THROWS_AS(file->write_at(0, "x"), FileError);
  CHECK_THROWS_AS(file->sync(), Violation);
}

TEST_CASE("sim disk: an interrupted operation may have been made", "[sim]") {
  const auto interrupt = [](Disk& disk) {
    auto file = durable_file(disk);
    disk.interrupt_in(1);
    CHECK_THROWS_AS(file->write_at(0, sectors("x")), Interrupted);
  };
  CHECK(outcomes(interrupt, lose_power) == std::set<std::string>{"f:abc ", "f:xbc "});
}

TEST_CASE("sim disk: a full one takes nothing more, and still lets what is there be changed", "[sim]") {
  World world(draw_plan(1, {}), nullptr);
  Disk disk(world, "disk");
  auto file = durable_file(disk);
  disk.fill(true);
  CHECK_THROWS_AS(file->allocate(4 * sector), FileError);
  CHECK_THROWS_AS(disk.create("g"), FileError);
  CHECK_NOTHROW(file->write_at(0, "x"));
  disk.fill(false);
  CHECK_NOTHROW(file->allocate(4 * sector));
}

TEST_CASE("sim disk: a flipped bit is one bit, and can be mended", "[sim]") {
  World world(draw_plan(1, {}), nullptr);
  Disk disk(world, "disk");
  durable_file(disk);
  const std::string before = disk.pages("f");
  REQUIRE(disk.is_settled());
  REQUIRE(disk.flip_a_bit({"f"}));
  const std::string after = disk.pages("f");
  int bits = 0;
  for (std::size_t i = 0; i < before.size(); ++i) {
    bits += __builtin_popcount(static_cast<unsigned char>(before[i]) ^ static_cast<unsigned char>(after[i]));
  }
  CHECK(bits == 1);
  CHECK(disk.durable("f") == after);
  disk.undo_flips();
  CHECK(disk.pages("f") == before);
}

TEST_CASE("sim disk: a wiped one is empty until its contents are given back", "[sim]") {
  World world(draw_plan(1, {}), nullptr);
  Disk disk(world, "disk");
  durable_file(disk);
  disk.wipe(true);
  CHECK(disk.list().empty());
  REQUIRE(disk.is_wiped());
  disk.give_back();
  CHECK(disk.list() == std::vector<std::string>{"f"});
  disk.wipe(false);
  CHECK_FALSE(disk.is_wiped());
}

// The zeros that cut off a torn end are pages like all others: if their sync fails, the next process reads them and
// the disk still has the torn batch.
TEST_CASE("wal: a torn end stays cut off, also where the first attempt to cut it off failed", "[sim]") {
  int torn = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    World world(draw_plan(seed, {}), nullptr);
    Disk disk(world, "disk");
    Wal::Recovered recovered;
    const WalOptions options{8192, 1024};
    const auto open = [&] { return std::make_unique<Wal>(disk, options, std::string(36, 'i'), recovered); };
    const auto write = [](std::uint64_t index, std::size_t bytes) {
      raft::Write batch;
      batch.entries.push_back({raft::Term(1), raft::Index(index), raft::Payload(std::string(bytes, 'x'))});
      return batch;
    };
    auto wal = open();
    wal->append(write(1, 10));
    disk.interrupt_in(2);  // before its sync
    CHECK_THROWS_AS(wal->append(write(2, 3000)), Interrupted);
    disk.power_lost();
    disk.fail_sync_in(2);  // the first is the folder's
    CHECK_THROWS_AS(open(), FileError);
    disk.process_ended();
    wal = open();
    torn += recovered.entries.size() == 1 ? 1 : 0;
    wal->append(write(recovered.entries.size() + 1, 10));
    const std::size_t entries = recovered.entries.size() + 1;
    disk.power_lost();
    REQUIRE_NOTHROW(open());
    CHECK(recovered.entries.size() == entries);
  }
  CHECK(torn > 50);
}

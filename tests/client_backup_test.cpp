// `backup save`, `backup verify` and `dump`: against servers that end, hang and send damaged parts in the middle,
// and with files that are damaged or cannot be written.
#include <asio/steady_timer.hpp>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <deque>

#include "client/backup_check.hpp"
#include "client/progress.hpp"
#include "common/text.hpp"
#include "tests/client_backups.hpp"
#include "tests/client_stage.hpp"

using namespace kv;
using namespace kv::client;
using namespace kv::client::test;
using Catch::Matchers::Contains;
using Catch::Matchers::StartsWith;

namespace {

// A cluster of two servers that hold the same backup.
struct BackupStage : Stage {
  FakeServer second{io, "n2"};
  TemporaryFolder folder;
  std::string bytes = bytes_of_backup();

  BackupStage() {
    server.hello.members.push_back({"n2", second.address().text()});
    second.hello.members = server.hello.members;
    for (FakeServer* each : {&server, &second}) {
      each->backup = bytes;
      each->backup_position = 58;
    }
  }

  void on_backup(const FakeServer::Handler& handler) { server.on_request = second.on_request = handler; }
  FakeServer& of(const FakeServer::Peer& peer) { return server.owns(peer) ? server : second; }
  void answer(const FakeServer::Peer& peer, const message::Request& asked) {
    peer.answer(asked, of(peer).part_of_backup(std::get<message::Backup>(asked.body)));
  }
  std::vector<message::Backup> asked() const {
    auto all = server.received<message::Backup>();
    for (const message::Backup& one : second.received<message::Backup>()) all.push_back(one);
    return all;
  }
  Exit save(std::vector<std::string> more = {}) {
    std::vector<std::string> words = {"backup", "save", folder.file("b"), "--timeout", "900ms"};
    words.insert(words.end(), more.begin(), more.end());
    return one_shot(words);
  }
};

std::string problem_of(std::string_view bytes) {
  BackupCheck check;
  auto problem = check.take(bytes);
  if (!problem) problem = check.finish();
  return problem ? std::to_string(problem->offset) + ": " + problem->what : "none";
}

// Each record again as it was, but with another content.
std::string problem_of(const BackupContent& content) {
  return problem_of(bytes_of_backup(content));
}

}  // namespace

TEST_CASE("backup save: the file is what the server sent, and what it is is told") {
  BackupStage stage;
  CHECK(stage.save() == Exit::done);
  CHECK(stage.folder.read("b") == stage.bytes);
  CHECK(stage.folder.files() == 1);
  CHECK_THAT(stage.out.str(), StartsWith("saved " + stage.folder.file("b") + ", from n"));
  CHECK_THAT(stage.out.str(), Contains("\n  position   58\n  term       3\n  cluster    " + cluster_a + "\n"));
  CHECK_THAT(stage.out.str(), Contains("\n  members    n1 host1:7401, n2 host2:7401\n  keys       3\n"));
  CHECK_THAT(stage.out.str(), Contains("\n  digest     " + snapshot::digest_text(totals_of({}).digest) + "\n"));
  CHECK(stage.err.str().empty());
}

TEST_CASE("backup save: as JSON") {
  BackupStage stage;
  CHECK(stage.save({"-o", "json"}) == Exit::done);
  CHECK_THAT(stage.out.str(), Contains("\"position\":58,\"term\":3,\"cluster\":\"" + cluster_a + "\"") &&
                                  Contains("\"keys\":3,\"bytes\":24,\"sessions\":2,\"digest\":\""));
}

TEST_CASE("backup save: it asks for what this user has written, and for parts before all have come") {
  BackupStage stage;
  stage.session.attach(cluster_a);
  stage.session.learn("colour", 41);
  stage.session.learn("shape", 7);
  std::deque<std::pair<FakeServer::Peer, message::Request>> held;
  std::size_t most = 0;
  stage.on_backup([&](const FakeServer::Peer& peer, const message::Request& asked) {
    const auto& backup = std::get<message::Backup>(asked.body);
    if (backup.snapshot == 0) return stage.answer(peer, asked);
    held.emplace_back(peer, asked);
    most = std::max(most, held.size());
    const bool last = backup.offset + stage.server.backup_part_bytes >= stage.bytes.size();
    if (held.size() < 4 && !last) return;
    // The last comes first, and one in the middle is short.
    for (; !held.empty(); held.pop_back()) {
      auto part = stage.server.part_of_backup(std::get<message::Backup>(held.back().second.body));
      if (held.size() == 2) part.bytes.resize(part.bytes.size() / 2);
      held.back().first.answer(held.back().second, part);
    }
  });
  stage.server.backup_part_bytes = stage.second.backup_part_bytes = 30;
  CHECK(stage.save() == Exit::done);
  CHECK(stage.asked().front().ts == 41);
  CHECK(most == 4);
  CHECK(stage.folder.read("b") == stage.bytes);
}

TEST_CASE("backup save: a server that ends or hangs in the middle, or sends damage, is passed over") {
  BackupStage stage;
  const std::string how = GENERATE("ends", "hangs", "damages", "answers nonsense", "refuses");
  std::string first;
  stage.on_backup([&](const FakeServer::Peer& peer, const message::Request& asked) {
    const auto& backup = std::get<message::Backup>(asked.body);
    const std::string& node = stage.of(peer).hello.node;
    if (first.empty()) first = node;
    if (node != first || backup.offset != 200) return stage.answer(peer, asked);
    if (how == "ends") return peer.hang_up();
    if (how == "refuses") return peer.refuse(asked, message::Code::shutting_down);
    if (how == "answers nonsense") return peer.answer(asked, message::StatusOk{});
    if (how == "hangs") return;
    auto part = stage.server.part_of_backup(backup);
    part.bytes[50] = static_cast<char>(part.bytes[50] ^ 1);
    peer.answer(asked, part);
  });
  INFO(how);
  CHECK(stage.save() == Exit::done);
  CHECK(stage.folder.read("b") == stage.bytes);
  CHECK_THAT(stage.out.str(), Contains(first == "n1" ? "from n2" : "from n1"));
}

TEST_CASE("backup save: where every server's is damaged, that is said and nothing is left") {
  BackupStage stage;
  stage.server.backup[80] = stage.second.backup[80] = static_cast<char>(stage.bytes[80] ^ 4);
  CHECK(stage.save() == Exit::refused);
  CHECK_THAT(stage.err.str(), Contains("it sent a damaged backup: at offset 64: the checksum of block 1 is wrong"));
  CHECK(stage.folder.files() == 0);
}

TEST_CASE("backup save: a backup whose end is missing is none") {
  BackupStage stage;
  stage.server.backup.resize(stage.bytes.size() - 20);
  stage.second.backup = stage.server.backup;
  CHECK(stage.save() == Exit::refused);
  CHECK_THAT(stage.err.str(), Contains("the snapshot's end is missing"));
}

TEST_CASE("backup save: one that is older than what was asked for is not taken") {
  BackupStage stage;
  stage.session.attach(cluster_a);
  stage.session.learn("colour", 59);
  CHECK(stage.save({"--timeout", "300ms"}) == Exit::refused);
  CHECK_THAT(stage.err.str(), Contains("older than was asked for"));
}

TEST_CASE("backup save: a snapshot that is gone in the middle is begun again, also at the same server") {
  BackupStage stage;
  stage.connect_to({stage.server.address()});
  stage.server.hello.members.pop_back();
  bool gone = false;
  stage.on_backup([&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (std::get<message::Backup>(asked.body).offset == 200 && !std::exchange(gone, true)) {
      return peer.refuse(asked, message::Code::compacted);
    }
    stage.answer(peer, asked);
  });
  CHECK(stage.save() == Exit::done);
  CHECK(stage.folder.read("b") == stage.bytes);
}

TEST_CASE("backup save: a refusal that nothing helps against is told at once") {
  BackupStage stage;
  stage.on_backup([](const FakeServer::Peer& peer, const message::Request& asked) {
    peer.refuse(asked, message::Code::bad_request);
  });
  CHECK(stage.save() == Exit::refused);
  CHECK_THAT(stage.err.str(), Contains("BAD_REQUEST: as the test wants it"));
  CHECK(stage.asked().size() == 1);
  CHECK(stage.folder.files() == 0);
}

TEST_CASE("backup save: with no server at all, exit 3") {
  BackupStage stage;
  stage.connect_to({closed_address(stage.io)});
  CHECK(stage.save() == Exit::no_server);
  CHECK_THAT(stage.err.str(), Contains("no server reached"));
  CHECK(stage.folder.files() == 0);
}

TEST_CASE("backup save: it gives up when nothing has come for so long") {
  BackupStage stage;
  stage.on_backup([](const FakeServer::Peer&, const message::Request&) {});
  CHECK(stage.save({"--timeout", "300ms"}) == Exit::refused);
  CHECK_THAT(stage.err.str(), Contains("no answer from n") && Contains("--timeout"));
  CHECK(stage.folder.files() == 0);
}

TEST_CASE("backup save: no server is asked where the file cannot be written") {
  BackupStage stage;
  SECTION("it exists") {
    stage.folder.write("b", "mine");
    CHECK(stage.save() == Exit::usage);
    CHECK_THAT(stage.err.str(), Contains("exists already") && Contains("--force"));
    CHECK(stage.folder.read("b") == "mine");
    CHECK(stage.asked().empty());
    CHECK(stage.save({"--force"}) == Exit::done);
    CHECK(stage.folder.read("b") == stage.bytes);
    CHECK(stage.folder.files() == 1);
  }
  SECTION("there is no such folder") {
    CHECK(stage.one_shot({"backup", "save", stage.folder.file("no/b")}) == Exit::usage);
    CHECK_THAT(stage.err.str(), Contains("No such file or directory"));
  }
  SECTION("it is a folder, or a device") {
    CHECK(stage.one_shot({"backup", "save", stage.folder.file(""), "--force"}) == Exit::usage);
    CHECK(stage.one_shot({"backup", "save", "/dev/full", "--force"}) == Exit::usage);
    CHECK_THAT(stage.err.str(), Contains("not a regular file"));
  }
  CHECK(stage.folder.files() <= 1);
}

TEST_CASE("backup save: a name that was taken meanwhile is not taken over") {
  BackupStage stage;
  stage.on_backup([&](const FakeServer::Peer& peer, const message::Request& asked) {
    stage.folder.write("b", "mine");
    stage.answer(peer, asked);
  });
  CHECK(stage.save() == Exit::usage);
  CHECK(stage.folder.read("b") == "mine");
  CHECK(stage.folder.files() == 1);
}

TEST_CASE("backup save: to standard output go the bytes alone, and to no terminal") {
  BackupStage stage;
  CHECK(stage.one_shot({"backup", "save", "-"}) == Exit::done);
  CHECK(stage.out.str() == stage.bytes);
  CHECK_THAT(stage.err.str(), StartsWith("saved, from n") && Contains("position   58"));
  stage.screen.out_is_terminal = true;
  CHECK(stage.one_shot({"backup", "save", "-"}) == Exit::usage);
  CHECK(stage.out.str().empty());
}

TEST_CASE("backup save: progress is for terminals") {
  ::setenv("TERM", "xterm", 1);
  BackupStage stage;
  stage.save();
  CHECK(stage.err.str().empty());
  stage.screen.err_is_terminal = true;
  stage.save({"--force"});
  CHECK_THAT(stage.err.str(), Contains("backup save: waiting for n") && Catch::EndsWith("\r\x1b[K"));
  stage.save({"--force", "--no-color"});
  CHECK(stage.err.str().empty());
}

TEST_CASE("backup verify: what a whole file is") {
  BackupStage stage;
  const std::string file = stage.folder.write("b", stage.bytes);
  CHECK(stage.one_shot({"backup", "verify", file}) == Exit::done);
  CHECK_THAT(stage.out.str(), StartsWith(file + " is whole\n  position   58\n  term       3\n"));
  CHECK_THAT(stage.out.str(),
             Contains("  sessions   2\n") && Contains("  file size  " + std::to_string(stage.bytes.size()) + "\n"));
  CHECK(stage.one_shot({"backup", "verify", file, "-o", "json"}) == Exit::done);
  CHECK_THAT(stage.out.str(), Contains("{\"node\":\"n1\",\"address\":\"host1:7401\"}"));
  CHECK(stage.server.requests.empty());
}

TEST_CASE("backup verify: a state that was restored, of a cluster that has not begun") {
  BackupStage stage;
  std::vector<std::string> records(1);
  snapshot::append_record(records.back(), snapshot::State{});
  snapshot::append_record(records.back(), snapshot::DeletionsFloor{58});
  const std::string file = stage.folder.write("b", bytes_of_backup(records, {58, 3}, {}));
  CHECK(stage.one_shot({"backup", "verify", file}) == Exit::done);
  CHECK_THAT(stage.out.str(), Contains("\n  cluster    none yet\n  members    none yet\n  keys       0\n"));
}

TEST_CASE("backup verify: a damaged file is named, with the offset, exit 1") {
  BackupStage stage;
  for (std::size_t at = 0; at < stage.bytes.size(); ++at) {
    std::string bytes = stage.bytes;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x10);
    const std::string file = stage.folder.write("b", bytes);
    REQUIRE(stage.one_shot({"backup", "verify", file}) == Exit::negative);
    REQUIRE_THAT(stage.err.str(), Contains("\"" + file + "\" is damaged at offset ") && Contains("use another"));
    REQUIRE(stage.out.str().empty());
  }
}

TEST_CASE("backup verify: a file that is not there, or empty") {
  BackupStage stage;
  CHECK(stage.one_shot({"backup", "verify", stage.folder.file("b")}) == Exit::usage);
  CHECK_THAT(stage.err.str(), Contains("No such file"));
  CHECK(stage.one_shot({"backup", "verify", stage.folder.write("b", "")}) == Exit::negative);
  CHECK_THAT(stage.err.str(), Contains("too short"));
}

TEST_CASE("backup check: records with right checksums that make no sense") {
  const BackupContent good;
  CHECK(problem_of(good) == "none");
  BackupContent bad = good;
  SECTION("the items' order") {
    std::swap(bad.items[0], bad.items[1]);
    CHECK_THAT(problem_of(bad), Contains("the items are out of order"));
  }
  SECTION("an item twice") {
    bad.items[1].key = bad.items[0].key;
    CHECK_THAT(problem_of(bad), Contains("the items are out of order"));
  }
  SECTION("positions behind the backup's own") {
    bad.items[1].ts = 59;
    CHECK_THAT(problem_of(bad), Contains("position"));
  }
  SECTION("keys that are none") {
    bad.items[0].key = GENERATE("", "\xff");
    CHECK_THAT(problem_of(bad), Contains("limits"));
  }
  SECTION("the sessions' order") {
    std::swap(bad.sessions[0], bad.sessions[1]);
    CHECK_THAT(problem_of(bad), Contains("the sessions are out of order"));
  }
  SECTION("totals that are others'") {
    snapshot::Totals totals = totals_of(good);
    switch (GENERATE(0, 1, 2)) {
      case 0:
        ++totals.keys;
        break;
      case 1:
        ++totals.bytes;
        break;
      default:
        ++totals.digest;
    }
    CHECK_THAT(problem_of(bytes_of_backup(records_of_backup(good), good.header, totals)), Contains("the end says"));
  }
  SECTION("no state, two states, a state behind items") {
    auto records = records_of_backup(good);
    const int what = GENERATE(0, 1, 2);
    if (what == 0) records.erase(records.begin());
    if (what == 1) records.insert(records.begin(), records.front());
    if (what == 2) std::swap(records[0], records[1]);
    CHECK_THAT(problem_of(bytes_of_backup(records, good.header, totals_of(good))), Contains("the state"));
  }
  SECTION("no deletions, their beginning twice or behind them, one of a later position") {
    auto records = records_of_backup(good);
    const int what = GENERATE(0, 1, 2, 3);
    if (what == 0) records.resize(records.size() - 2);
    if (what == 1) records.insert(records.end() - 1, *(records.end() - 2));
    if (what == 2) std::swap(*(records.end() - 1), *(records.end() - 2));
    if (what == 3) snapshot::append_record(records.back(), snapshot::Deletion{59, "k"});
    CHECK_THAT(problem_of(bytes_of_backup(records, good.header, totals_of(good))), Contains("deletion"));
  }
  SECTION("members that cannot be read") {
    auto records = records_of_backup(good);
    records.front().clear();
    snapshot::append_record(records.front(), snapshot::State{"\x01\x01", 0});
    CHECK_THAT(problem_of(bytes_of_backup(records, good.header, totals_of(good))), Contains("members"));
  }
}

TEST_CASE("dump: every item a line, of the running cluster or of a file") {
  BackupStage stage;
  const std::string lines =
      "{\"key\":\"bin\",\"value_base64\":\"/wB6\",\"ts\":7}\n"
      "{\"key\":\"colour\",\"value\":\"blue\",\"ts\":58}\n"
      "{\"key\":\"shape\",\"value\":\"a\\nb\",\"ts\":9}\n";
  CHECK(stage.one_shot({"dump"}) == Exit::done);
  CHECK(stage.out.str() == lines);
  CHECK(stage.err.str().empty());
  CHECK(stage.one_shot({"dump", "-", "--prefix", "co"}) == Exit::done);
  CHECK(stage.out.str() == "{\"key\":\"colour\",\"value\":\"blue\",\"ts\":58}\n");
  const std::string backup = stage.folder.write("b", stage.bytes);
  stage.server.requests.clear();
  stage.second.requests.clear();
  CHECK(stage.one_shot({"dump", "--from", backup}) == Exit::done);
  CHECK(stage.out.str() == lines);
  CHECK(stage.one_shot({"dump", "--from", backup, stage.folder.file("d")}) == Exit::done);
  CHECK(stage.folder.read("d") == lines);
  CHECK(stage.out.str() == "dumped 3 items (24 B) of position 58 to " + stage.folder.file("d") + "\n");
  CHECK(stage.one_shot({"dump", "--from", backup, stage.folder.file("d")}) == Exit::usage);
  CHECK(stage.one_shot({"dump", "--from", backup, stage.folder.file("d"), "--force"}) == Exit::done);
  CHECK(stage.server.requests.empty());
  CHECK(stage.second.requests.empty());
}

TEST_CASE("dump: of a damaged backup no file comes to be") {
  BackupStage stage;
  stage.bytes[stage.bytes.size() - 1] = static_cast<char>(stage.bytes.back() ^ 1);
  const std::string backup = stage.folder.write("b", stage.bytes);
  CHECK(stage.one_shot({"dump", "--from", backup, stage.folder.file("d")}) == Exit::negative);
  CHECK_THAT(stage.err.str(), Contains("damaged at offset"));
  CHECK(stage.folder.files() == 1);
}

TEST_CASE("dump: nothing is printed before all of it has come, so a server may end in the middle") {
  BackupStage stage;
  bool ended = false;
  stage.on_backup([&](const FakeServer::Peer& peer, const message::Request& asked) {
    if (std::get<message::Backup>(asked.body).offset == 300 && !std::exchange(ended, true)) return peer.hang_up();
    stage.answer(peer, asked);
  });
  CHECK(stage.one_shot({"dump", "--prefix", "colour"}) == Exit::done);
  CHECK(stage.out.str() == "{\"key\":\"colour\",\"value\":\"blue\",\"ts\":58}\n");
  CHECK(ended);
}

// The timestamps that kvctl keeps, and the file that carries them from one process to the next.
#include "client/session_file.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "client/session.hpp"
#include "client/timestamps.hpp"

using namespace kv::client;
namespace fs = std::filesystem;

namespace {

const std::string cluster_a = "11111111-1111-4111-8111-111111111111";
const std::string cluster_b = "22222222-2222-4222-8222-222222222222";

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string pattern = (fs::temp_directory_path() / "kvctl-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TemporaryDirectory() { fs::remove_all(path_); }
  fs::path operator/(const std::string& name) const { return path_ / name; }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void write(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

Timestamps one(const std::string& key, std::uint64_t ts) {
  Timestamps timestamps;
  timestamps.learn(key, ts);
  return timestamps;
}

SessionFile::Content loaded(SessionFile& file) {
  auto result = file.load();
  if (const auto* problem = std::get_if<SessionFile::Problem>(&result)) FAIL(problem->text);
  return std::get<SessionFile::Content>(result);
}

std::string problem_of(SessionFile& file) {
  const auto result = file.load();
  const auto* problem = std::get_if<SessionFile::Problem>(&result);
  return problem ? problem->text : "";
}

}  // namespace

TEST_CASE("timestamps: the highest one of each key is kept") {
  Timestamps timestamps;
  CHECK(timestamps.learn("a", 5));
  CHECK_FALSE(timestamps.learn("a", 4));
  CHECK_FALSE(timestamps.learn("a", 5));
  CHECK(timestamps.learn("a", 6));
  CHECK(timestamps.position_of("a") == 6);
  CHECK(timestamps.position_of("b") == 0);
}

TEST_CASE("timestamps: what is dropped raises the floor, so no guarantee is lost") {
  Timestamps timestamps(3);
  for (std::uint64_t ts = 1; ts <= 5; ++ts) timestamps.learn("key" + std::to_string(ts), ts);
  CHECK(timestamps.size() == 3);
  CHECK(timestamps.floor() == 2);
  for (std::uint64_t ts = 1; ts <= 5; ++ts) CHECK(timestamps.position_of("key" + std::to_string(ts)) >= ts);
  CHECK(timestamps.position_of("never seen") == 2);
  CHECK(timestamps.position_of("key5") == 5);
}

TEST_CASE("timestamps: the bound holds for 10,000 keys") {
  Timestamps timestamps;
  for (std::uint64_t ts = 1; ts <= Timestamps::max_keys + 50; ++ts) timestamps.learn("k" + std::to_string(ts), ts);
  CHECK(timestamps.size() == Timestamps::max_keys);
  CHECK(timestamps.floor() == 50);
}

TEST_CASE("timestamps: merging takes the higher of everything") {
  Timestamps left = one("both", 7);
  left.learn("left", 3);
  Timestamps right = one("both", 5);
  right.learn("right", 9);
  left.merge(right);
  CHECK(left.position_of("both") == 7);
  CHECK(left.position_of("left") == 3);
  CHECK(left.position_of("right") == 9);

  // The other side has dropped keys: one of those may be ours, so ours counts with its floor.
  Timestamps full(1);
  full.learn("x", 4);
  full.learn("y", 8);
  left.merge(full);
  CHECK(left.floor() == 4);
  CHECK(left.position_of("left") == 4);
  CHECK(left.position_of("both") == 7);
}

TEST_CASE("timestamps: the text says all, whatever the keys are") {
  Timestamps timestamps(4);
  std::uint64_t ts = 1;
  for (const char* key : {"dropped", "plain", "with blank", "line\nbreak \\x41 \x7f", "größe"}) {
    timestamps.learn(key, ts++);
  }
  const std::string text = timestamps.to_text(cluster_a);
  std::string problem;
  const auto parsed = Timestamps::parse(text, problem);
  REQUIRE(parsed.has_value());
  CHECK(parsed->cluster == cluster_a);
  CHECK(parsed->timestamps == timestamps);
}

TEST_CASE("timestamps: any damage to the text is noticed") {
  Timestamps timestamps = one("colour", 58);
  timestamps.learn("größe", 61);
  const std::string text = timestamps.to_text(cluster_a);
  std::string problem;
  for (std::size_t size = 0; size < text.size() - 1; ++size) {
    CHECK_FALSE(Timestamps::parse(text.substr(0, size), problem).has_value());
  }
  for (std::size_t at = 0; at < text.size(); ++at) {
    std::string damaged = text;
    damaged[at] ^= 1;
    CHECK_FALSE(Timestamps::parse(damaged, problem).has_value());
  }
  CHECK_FALSE(Timestamps::parse(text + "1 x\n", problem).has_value());
}

TEST_CASE("session file: what one process adds another one finds") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "deep/down/session";
  SessionFile first(path);
  CHECK(loaded(first).cluster.empty());
  REQUIRE(std::holds_alternative<SessionFile::Added>(first.add(cluster_a, one("colour", 58))));
  SessionFile second(path);
  CHECK(loaded(second).cluster == cluster_a);
  CHECK(loaded(second).timestamps.position_of("colour") == 58);
  struct stat info {};
  ::stat(path.c_str(), &info);
  CHECK((info.st_mode & 0777) == 0600);
}

TEST_CASE("session file: two at the same time lose nothing of each other") {
  const TemporaryDirectory directory;
  SessionFile first(directory / "s");
  SessionFile second(directory / "s");
  loaded(first);
  loaded(second);
  first.add(cluster_a, one("a", 5));
  CHECK(second.changed());
  second.add(cluster_a, one("b", 6));
  const auto added = first.add(cluster_a, one("b", 4));
  CHECK(std::get<SessionFile::Added>(added).timestamps.position_of("b") == 6);
  CHECK(loaded(first).timestamps.position_of("a") == 5);
}

TEST_CASE("session file: many processes at the same time lose nothing of each other") {
  const TemporaryDirectory directory;
  constexpr int processes = 4;
  constexpr int keys = 25;
  std::vector<pid_t> children;
  for (int process = 0; process < processes; ++process) {
    const pid_t child = ::fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      SessionFile file(directory / "s");
      for (int key = 0; key < keys; ++key) {
        const std::string name = std::to_string(process) + "/" + std::to_string(key);
        file.add(cluster_a, one(name, static_cast<std::uint64_t>(key + 1)));
      }
      ::_exit(0);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  SessionFile file(directory / "s");
  CHECK(loaded(file).timestamps.size() == processes * keys);
}

TEST_CASE("session file: a damaged one is told, moved aside, and begun anew") {
  const TemporaryDirectory directory;
  const fs::path path = directory / "s";
  SessionFile file(path);
  file.add(cluster_a, one("colour", 58));
  std::string text = content_of(path);
  text[text.find("58")] = '9';
  write(path, text);
  SECTION("when it is read") {
    CHECK_THAT(problem_of(file), Catch::Contains("is damaged"));
  }
  SECTION("when it is added to") {
    const auto added = file.add(cluster_a, one("size", 60));
    CHECK_THAT(std::get<SessionFile::Added>(added).warning, Catch::Contains("is damaged"));
    CHECK(loaded(file).timestamps.position_of("size") == 60);
  }
  CHECK(content_of(directory / "s.damaged") == text);
  CHECK(problem_of(file).empty());
}

TEST_CASE("session file: a truncated one is damaged, an empty one is told") {
  const TemporaryDirectory directory;
  SessionFile file(directory / "s");
  file.add(cluster_a, one("colour", 58));
  write(directory / "s", content_of(directory / "s").substr(0, 70));
  CHECK_THAT(problem_of(file), Catch::Contains("is damaged"));
  write(directory / "s", "");
  CHECK_THAT(problem_of(file), Catch::Contains("was empty"));
}

TEST_CASE("session file: what is no session file is left alone") {
  const TemporaryDirectory directory;
  SessionFile file(directory / "notes");
  write(directory / "notes", "dear diary\n");
  CHECK_THAT(problem_of(file), Catch::Contains("left as it is"));
  CHECK(std::holds_alternative<SessionFile::Problem>(file.add(cluster_a, one("a", 1))));
  CHECK(content_of(directory / "notes") == "dear diary\n");
  SessionFile device("/dev/null");
  CHECK_THAT(problem_of(device), Catch::Contains("not a regular file"));
  SessionFile folder(directory.path());
  CHECK_THAT(problem_of(folder), Catch::Contains("not a regular file"));
}

TEST_CASE("session file: one that cannot be written is a problem, not an exception") {
  const TemporaryDirectory directory;
  write(directory / "file", "");
  SessionFile file(directory / "file/s");
  CHECK(std::holds_alternative<SessionFile::Problem>(file.add(cluster_a, one("a", 1))));
}

TEST_CASE("session file: the timestamps of another cluster are never mixed in") {
  const TemporaryDirectory directory;
  SessionFile file(directory / "s");
  file.add(cluster_a, one("colour", 58));
  CHECK(std::holds_alternative<SessionFile::Problem>(file.add(cluster_b, one("colour", 99))));
  CHECK(loaded(file).timestamps.position_of("colour") == 58);
}

TEST_CASE("session: a file for each cluster") {
  const TemporaryDirectory directory;
  std::vector<std::string> warnings;
  const auto warn = [&](const std::string& text) { warnings.push_back(text); };
  Session session = Session::per_cluster(directory.path(), warn);
  CHECK(session.remembered_cluster().empty());
  session.attach(cluster_a);
  session.learn("colour", 58);
  session.attach(cluster_b);
  CHECK(session.position_of("colour") == 0);
  session.learn("colour", 3);
  CHECK(session.remembered_cluster().empty());  // it follows whichever cluster answers

  Session later = Session::per_cluster(directory.path(), warn);
  later.attach(cluster_a);
  CHECK(later.position_of("colour") == 58);
  session.attach(cluster_a);
  later.learn("size", 70);
  CHECK(session.position_of("size") == 70);  // seen by another kvctl meanwhile
  CHECK(warnings.empty());
}

TEST_CASE("session: a named file belongs to one cluster") {
  const TemporaryDirectory directory;
  std::vector<std::string> warnings;
  const auto warn = [&](const std::string& text) { warnings.push_back(text); };
  Session first = Session::in_file(directory / "mine", warn);
  CHECK(first.remembered_cluster().empty());
  first.attach(cluster_a);
  first.learn("colour", 58);
  Session second = Session::in_file(directory / "mine", warn);
  CHECK(second.remembered_cluster() == cluster_a);
  CHECK(second.position_of("colour") == 58);
  CHECK(warnings.empty());
}

TEST_CASE("session: without a file timestamps last as long as the process") {
  Session session = Session::in_memory([](const std::string& text) { FAIL(text); });
  CHECK(session.remembered_cluster().empty());
  session.attach(cluster_a);
  session.learn("colour", 58);
  CHECK(session.position_of("colour") == 58);
}

TEST_CASE("session: a cluster's name from the network does not become a path") {
  const TemporaryDirectory directory;
  std::vector<std::string> warnings;
  Session session =
      Session::per_cluster(directory.path(), [&](const std::string& text) { warnings.push_back(text); });
  session.attach("../../etc/passwd");
  session.learn("colour", 58);
  CHECK(warnings.size() == 1);
  CHECK(session.position_of("colour") == 58);
  CHECK(fs::is_empty(directory.path()));
}

TEST_CASE("session: an unusable file is one warning, and the timestamps are kept in memory") {
  const TemporaryDirectory directory;
  write(directory / "file", "");
  std::vector<std::string> warnings;
  Session session =
      Session::per_cluster(directory / "file/kvctl", [&](const std::string& text) { warnings.push_back(text); });
  session.attach(cluster_a);
  session.learn("a", 1);
  session.learn("b", 2);
  CHECK(session.position_of("b") == 2);
  CHECK(warnings.size() >= 1);
}

TEST_CASE("session: the state directory follows the XDG specification") {
  const char* home = std::getenv("HOME");
  const std::string home_before = home != nullptr ? home : "";
  ::setenv("HOME", "/home/ada", 1);
  ::setenv("XDG_STATE_HOME", "/var/state", 1);
  CHECK(state_directory() == "/var/state/kvctl");
  ::setenv("XDG_STATE_HOME", "relative", 1);
  CHECK(state_directory() == "/home/ada/.local/state/kvctl");
  ::unsetenv("XDG_STATE_HOME");
  CHECK(state_directory() == "/home/ada/.local/state/kvctl");
  ::setenv("HOME", home_before.c_str(), 1);
}

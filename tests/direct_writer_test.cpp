// The kernel's own writes, on the real disk. Where the file system of the folder for temporary files has none, most
// of it can't be tested.
#include "server/direct_writer.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <optional>
#include <string>
#include <utility>

#include "server/file.hpp"
#include "tests/temporary_folder.hpp"

using namespace kv;

namespace {

using Outcome = DirectWriter::Outcome;

constexpr std::size_t block = 4096;

struct Fixture {
  Fixture() { file->allocate(4 * DirectWriter::most_bytes); }

  // What came of it; nullopt: it was refused at once.
  std::optional<std::pair<Outcome, int>> write(int to, std::uint64_t offset, const std::string& bytes) {
    std::optional<std::pair<Outcome, int>> result;
    const std::array<std::string_view, 1> pieces{bytes};
    if (!writer->start(to, offset, pieces, [&](Outcome outcome, int error) { result.emplace(outcome, error); })) {
      return std::nullopt;
    }
    CHECK_FALSE(result);  // not before the loop turns
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!result) {
      REQUIRE(std::chrono::steady_clock::now() < end);
      loop.run_one_for(std::chrono::milliseconds(10));
    }
    CHECK_FALSE(writer->is_busy());
    return result;
  }

  std::string read(std::uint64_t offset, std::size_t length) {
    std::string out(length, '?');
    REQUIRE(file->read_at(offset, out) == length);
    return out;
  }

  TemporaryFolder folder;
  std::unique_ptr<Directory> directory = open_directory(folder.path());
  std::unique_ptr<File> file = directory->create("a");
  asio::io_context loop;
  std::optional<DirectWriter> writer{std::in_place, loop};
};

const std::pair durable{Outcome::durable, 0};

}  // namespace

TEST_CASE("direct writer: pieces are written one behind the other and read by who reads the file", "[direct]") {
  Fixture fixture;
  const auto direct = fixture.file->direct();
  if (!direct) {
    WARN("no writes past the kernel\'s pages here");
    return;
  }
  CHECK(fixture.write(*direct, block, std::string(2 * block, 'a')) == durable);
  std::optional<Outcome> outcome;
  const std::string b(block - 10, 'b');
  const std::string c(10, 'c');
  const std::array<std::string_view, 3> pieces{b, "", c};
  REQUIRE(fixture.writer->start(*direct, 2 * block, pieces, [&](Outcome what, int) { outcome = what; }));
  CHECK(fixture.writer->is_busy());
  while (!outcome) fixture.loop.run_one();
  CHECK(outcome == Outcome::durable);
  CHECK((fixture.read(0, 4 * block) ==
         std::string(block, '\0') + std::string(block, 'a') + b + c + std::string(block, '\0')));
}

TEST_CASE("direct writer: pages in its way are told, and go with the next durable write", "[direct]") {
  Fixture fixture;
  const auto direct = fixture.file->direct();
  if (!direct) {
    WARN("no writes past the kernel's pages here");
    return;
  }
  fixture.read(0, 64 * block);
  const auto first = fixture.write(*direct, 0, std::string(block, 'a'));
  CHECK((!first || first->first == Outcome::refused || *first == durable));  // kernels differ
  fixture.file->write_durably(0, std::string(block, 'b'));
  for (std::size_t i = 1; i < 20; ++i) CHECK(fixture.write(*direct, i * block, std::string(block, 'c')) == durable);
  CHECK((fixture.read(0, 20 * block) == std::string(block, 'b') + std::string(19 * block, 'c')));
}

TEST_CASE("direct writer: nothing stands in its way where the file was read, or written durably", "[direct]") {
  Fixture fixture;
  fixture.file->write_at(0, std::string(64 * block, 'x'));
  fixture.file->sync();
  fixture.read(0, 64 * block);
  const auto direct = fixture.file->direct();
  if (!direct) {
    WARN("no writes past the kernel\'s pages here");
    return;
  }
  for (std::size_t i = 0; i < 20; ++i) {
    CHECK(fixture.write(*direct, i * block, std::string(block, 'y')) == durable);
    fixture.file->write_durably((i + 1) * block + 100, std::string(5 * block, 'z'));
  }
  CHECK((fixture.read(0, 20 * block) == std::string(20 * block, 'y')));
}

TEST_CASE("direct writer: as much as it takes, and more", "[direct]") {
  Fixture fixture;
  const auto direct = fixture.file->direct();
  if (!direct) {
    WARN("no writes past the kernel\'s pages here");
    return;
  }
  const std::string most(DirectWriter::most_bytes, 'm');
  CHECK(fixture.write(*direct, 0, most) == durable);
  CHECK(fixture.write(*direct, 0, most + std::string(block, 'n')) == std::nullopt);
  CHECK(fixture.write(*direct, 0, std::string(block, 'o')) == durable);
  CHECK((fixture.read(0, most.size()) == std::string(block, 'o') + most.substr(block)));
}

TEST_CASE("direct writer: what the file can't do is refused, and from then on all", "[direct]") {
  Fixture fixture;
  const int nothing = ::open("/dev/full", O_WRONLY | O_CLOEXEC);
  REQUIRE(nothing >= 0);
  const auto result = fixture.write(nothing, 0, std::string(block, 'a'));
  CHECK((!result || result->first == Outcome::refused));
  ::close(nothing);
  if (const auto direct = fixture.file->direct()) {
    CHECK(fixture.write(*direct, 0, std::string(block, 'b')) == std::nullopt);
    CHECK((fixture.read(0, block) == std::string(block, '\0')));
  }
}

TEST_CASE("direct writer: an error is told", "[direct]") {
  Fixture fixture;
  const auto direct = fixture.file->direct();
  if (!direct) {
    WARN("no writes past the kernel\'s pages here");
    return;
  }
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{block, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const auto result = fixture.write(*direct, 8 * block, std::string(block, 'a'));
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  CHECK(result == std::pair{Outcome::failed, EFBIG});
}

TEST_CASE("direct writer: who ends it waits for the write, and hears no more of it", "[direct]") {
  Fixture fixture;
  const auto direct = fixture.file->direct();
  if (!direct) {
    WARN("no writes past the kernel\'s pages here");
    return;
  }
  const std::string bytes(256 * block, 'e');
  bool told = false;
  REQUIRE(fixture.writer->start(*direct, 0, std::array<std::string_view, 1>{bytes},
                                [&](Outcome, int) { told = true; }));
  fixture.writer.reset();
  fixture.loop.run_for(std::chrono::milliseconds(1));
  CHECK_FALSE(told);
  CHECK((fixture.read(0, bytes.size()) == bytes));
}

// Big files that are written a part at a time.
#include "server/gentle_writer.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "tests/memory_directory.hpp"
#include "tests/temporary_folder.hpp"

using namespace kv;

namespace {

constexpr std::size_t part = 2 * File::block_bytes;

std::string some_bytes(std::size_t size) {
  std::string bytes;
  for (std::size_t i = 0; bytes.size() < size; ++i) bytes += std::to_string(i) + ' ';
  bytes.resize(size);
  return bytes;
}

std::string read_all(File& file) {
  std::string bytes(file.size(), '\0');
  bytes.resize(file.read_at(0, bytes));
  return bytes;
}

void append_in_pieces(GentleWriter& writer, const std::string& bytes, std::size_t piece) {
  for (std::size_t at = 0; at < bytes.size(); at += piece) writer.append(std::string_view(bytes).substr(at, piece));
}

// It takes direct writes, and is nothing but pages.
bool is_tmpfs(const std::string& path) {
  struct statfs told = {};
  REQUIRE(::statfs(path.c_str(), &told) == 0);
  return told.f_type == TMPFS_MAGIC;
}

// `offset` is a page's. Asking neither reads the file nor brings it there.
bool is_in_pages(const std::string& path, std::uint64_t offset) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  REQUIRE(fd >= 0);
  void* const page = ::mmap(nullptr, 1, PROT_READ, MAP_SHARED, fd, static_cast<off_t>(offset));
  ::close(fd);
  REQUIRE(page != MAP_FAILED);
  unsigned char told = 0;
  const int result = ::mincore(page, 1, &told);
  ::munmap(page, 1);
  REQUIRE(result == 0);
  return (told & 1) != 0;
}

}  // namespace

TEST_CASE("gentle writer: what is appended, in whatever pieces, is in the file") {
  const std::size_t size = GENERATE(0, 1, part - 1, part, part + 1, 5 * part, 7 * part + 100);
  const std::size_t piece = GENERATE(1000, part, 3 * part + 1);
  const std::string bytes = some_bytes(size);
  TemporaryFolder folder;
  const auto directory = open_directory(folder.path());
  GentleWriter writer(directory->create("a"), part);
  append_in_pieces(writer, bytes, piece);
  CHECK(writer.bytes() == size);
  writer.finish();
  CHECK(writer.bytes() == size);
  CHECK(read_all(*directory->open("a")) == bytes);
}

TEST_CASE("gentle writer: parts leave no pages behind, where the file system can do that") {
  TemporaryFolder folder;
  const auto directory = open_directory(folder.path());
  if (!directory->create("b")->direct() || is_tmpfs(folder.path())) {
    WARN("the file system has no direct I/O");
    return;
  }
  GentleWriter writer(directory->create("a"), part);
  append_in_pieces(writer, some_bytes(4 * part + 1), 1000);
  writer.finish();
  CHECK_FALSE(is_in_pages(folder.path() + "/a", 0));
  CHECK_FALSE(is_in_pages(folder.path() + "/a", 3 * part));
  CHECK(is_in_pages(folder.path() + "/a", 4 * part));
}

TEST_CASE("gentle writer: where parts cannot go past the pages, each is synced") {
  MemoryDirectory directory;
  GentleWriter writer(directory.create("a"), part);
  const std::string bytes = some_bytes(2 * part + 10);
  append_in_pieces(writer, bytes, 500);
  writer.finish();
  CHECK(directory.log() ==
        std::vector<std::string>{"create a", "write a", "sync a", "write a", "sync a", "write a", "sync a"});
  CHECK(read_all(*directory.open("a")) == bytes);
}

TEST_CASE("gentle writer: where they can, one sync is behind the last, and one behind each 64") {
  MemoryDirectory directory;
  directory.allow_past_pages();
  GentleWriter writer(directory.create("a"), part);
  const std::string bytes = some_bytes(2 * part + 10);
  append_in_pieces(writer, bytes, 500);
  writer.finish();
  CHECK(directory.log() == std::vector<std::string>{"create a", "write a", "write a", "write a", "sync a"});
  CHECK(read_all(*directory.open("a")) == bytes);
  GentleWriter bigger(directory.create("b"), part);
  append_in_pieces(bigger, some_bytes(130 * part), part);
  CHECK(std::count(directory.log().begin(), directory.log().end(), "sync b") == 2);
  CHECK(directory.log().back() == "write b");
}

TEST_CASE("gentle writer: an error of any part gets out") {
  MemoryDirectory directory;
  if (GENERATE(false, true)) directory.allow_past_pages();
  GentleWriter writer(directory.create("a"), part);
  directory.fail(1, EIO, false);
  CHECK_THROWS_AS(writer.append(some_bytes(part)), FileError);
}

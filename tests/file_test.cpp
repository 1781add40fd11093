#include "server/file.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <functional>

#include "server/lock_holder.hpp"
#include "tests/temporary_folder.hpp"

using namespace kv;
using Catch::Matchers::Contains;

namespace {

std::string read(File& file, std::uint64_t offset, std::size_t bytes) {
  std::string out(bytes, '?');
  out.resize(file.read_at(offset, out));
  return out;
}

int error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const FileError& error) {
    return error.error();
  }
  return 0;
}

}  // namespace

TEST_CASE("file: what is written is read, also by the next to open it") {
  TemporaryFolder folder;
  auto directory = open_directory(folder.path());
  auto file = directory->create("a");
  file->write_at(3, "hello");
  file->sync();
  CHECK(file->size() == 8);
  CHECK(read(*file, 0, 100) == std::string("\0\0\0hello", 8));
  CHECK(read(*file, 4, 2) == "el");
  CHECK(read(*file, 8, 10).empty());
  CHECK(read(*file, 100, 10).empty());

  directory->sync();
  directory.reset();
  file->write_at(0, "abc");  // files outlive their directory
  file.reset();
  file = open_directory(folder.path())->open("a");
  CHECK(read(*file, 0, 100) == "abchello");
}

TEST_CASE("file: allocate makes it longer by zeros, with room for them, and never shorter") {
  TemporaryFolder folder;
  auto directory = open_directory(folder.path());
  auto file = directory->create("a");
  file->write_at(0, "x");
  file->allocate(100'000);
  CHECK(file->size() == 100'000);
  CHECK(read(*file, 0, 200'000) == 'x' + std::string(99'999, '\0'));
  struct stat status {};
  REQUIRE(::stat((folder.path() + "/a").c_str(), &status) == 0);
  CHECK(status.st_blocks * 512 >= 100'000);
  file->allocate(50'000);
  CHECK(file->size() == 100'000);
}

TEST_CASE("directory: lists, renames, replaces and removes plain files") {
  TemporaryFolder folder;
  auto directory = open_directory(folder.path());
  for (const char* name : {"c", "a", "b"}) directory->create(name)->write_at(0, name);
  REQUIRE(::mkdir((folder.path() + "/folder").c_str(), 0700) == 0);
  REQUIRE(::symlink("a", (folder.path() + "/link").c_str()) == 0);
  CHECK(directory->list() == std::vector<std::string>{"a", "b", "c"});
  CHECK(directory->list() == std::vector<std::string>{"a", "b", "c"});
  auto b = directory->open("b");
  directory->rename("a", "b");
  directory->remove("c");
  directory->sync();
  CHECK(directory->list() == std::vector<std::string>{"b"});
  CHECK(read(*directory->open("b"), 0, 9) == "a");
  CHECK(read(*b, 0, 9) == "b");
  CHECK(directory->path() == folder.path());
}

TEST_CASE("directory: what is removed gently is gone at once, and its room is given back when the remains go") {
  TemporaryFolder folder;
  auto directory = open_directory(folder.path());
  // No whole number of the steps in which it is given back.
  const std::uint64_t bytes = GENERATE(0, 1, (1 << 20), (5 << 20) + 12'345);
  auto file = directory->create("a");
  file->allocate(bytes);
  file->sync();
  auto remains = directory->remove_gently("a");
  REQUIRE(remains != nullptr);
  CHECK(directory->list().empty());
  CHECK(file->size() == bytes);
  directory->sync();
  directory->create("a")->write_at(0, "another");
  remains.reset();
  CHECK(file->size() == 0);
  CHECK(read(*directory->open("a"), 0, 9) == "another");
}

TEST_CASE("directory: what is removed gently and has another name, as in a copy by links, stays whole there") {
  TemporaryFolder folder;
  auto directory = open_directory(folder.path());
  const std::string bytes(3 << 20, 'x');
  directory->create("a")->write_at(0, bytes);
  REQUIRE(::link((folder.path() + "/a").c_str(), (folder.path() + "/copy").c_str()) == 0);
  directory->remove_gently("a").reset();
  CHECK(directory->list() == std::vector<std::string>{"copy"});
  CHECK((read(*directory->open("copy"), 0, bytes.size() + 1) == bytes));
}

TEST_CASE("directory: without a descriptor to spare, what is to be removed gently is just removed") {
  TemporaryFolder folder;
  auto directory = open_directory(folder.path());
  auto file = directory->create("a");
  file->write_at(0, "hello");
  // UBSan looks at each class once, and needs descriptors for that.
  directory->create("b");
  directory->remove_gently("b").reset();
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
  const rlimit none{0, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  std::unique_ptr<Remains> remains;
  const int error = error_of([&] { remains = directory->remove_gently("a"); });
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &before) == 0);
  CHECK(error == 0);
  CHECK(remains == nullptr);
  CHECK(directory->list().empty());
  CHECK(error_of([&] { directory->remove_gently("a"); }) == ENOENT);
}

TEST_CASE("directory: missing folders are made, and a path may end in a slash") {
  TemporaryFolder folder;
  const std::string path = folder.path() + "/x/y/z";
  CHECK(open_directory(path + "//")->path() == path);
  CHECK(std::filesystem::is_directory(path));
  const auto mode = std::filesystem::status(path).permissions();
  CHECK((mode & (std::filesystem::perms::group_all | std::filesystem::perms::others_all)) ==
        std::filesystem::perms::none);

  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  CHECK_NOTHROW(open_directory("relative/one"));
  std::filesystem::current_path(before);
  CHECK(std::filesystem::is_directory(folder.path() + "/relative/one"));
}

TEST_CASE("directory: errors say what could not be done, to what, and why") {
  TemporaryFolder folder;
  auto directory = open_directory(folder.path());
  directory->create("a");
  CHECK_THROWS_WITH(directory->create("a"), "cannot create " + folder.path() + "/a: File exists");
  CHECK_THROWS_WITH(directory->open("b"), "cannot open " + folder.path() + "/b: No such file or directory");
  CHECK_THROWS_WITH(directory->remove("b"), "cannot remove " + folder.path() + "/b: No such file or directory");
  CHECK_THROWS_WITH(directory->rename("b", "c"),
                    "cannot rename " + folder.path() + "/b: No such file or directory");
  CHECK_THROWS_WITH(open_directory(folder.path() + "/a/b"), Contains("/a/b: Not a directory"));
  CHECK(error_of([&] { open_directory(folder.path() + "/a"); }) == ENOTDIR);
  CHECK(FileError("create", "/x/y/0001.wal", ENOSPC).what() ==
        std::string("cannot create /x/y/0001.wal: No space left on device"));
  CHECK(FileError("create", "x", ENOSPC).no_space());
  CHECK(FileError("create", "x", EDQUOT).no_space());
  CHECK_FALSE(FileError("create", "x", EIO).no_space());
}

TEST_CASE("directory: a second to open it is refused, in this process and in another, until the first is done") {
  TemporaryFolder folder;
  auto directory = open_directory(folder.path());
  CHECK(directory->list().empty());
  CHECK(error_of([&] { open_directory(folder.path()); }) == EWOULDBLOCK);

  const pid_t child = ::fork();
  if (child == 0) ::_exit(error_of([&] { open_directory(folder.path()); }) == EWOULDBLOCK ? 7 : 1);
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 7));

  directory.reset();
  CHECK_NOTHROW(open_directory(folder.path()));
}

TEST_CASE("directory: one that is only read stays as it is, also while another has it open") {
  TemporaryFolder folder;
  CHECK(error_of([&] { open_directory_to_read(folder.path() + "/none"); }) == ENOENT);
  CHECK_FALSE(std::filesystem::exists(folder.path() + "/none"));
  {
    const auto empty = open_directory_to_read(folder.path());
    CHECK(empty->list().empty());
  }
  CHECK(std::filesystem::is_empty(folder.path()));  // no LOCK either

  const auto owner = open_directory(folder.path());
  owner->create("a")->write_at(0, "hello");
  const auto reader = open_directory_to_read(folder.path() + "//");
  CHECK(reader->path() == folder.path());
  CHECK(reader->list() == std::vector<std::string>{"a"});
  const auto file = reader->open("a");
  CHECK(read(*file, 0, 9) == "hello");
  CHECK_THROWS_AS(file->write_at(0, "x"), FileError);
  CHECK_THROWS_AS(file->allocate(100), FileError);
  CHECK(error_of([&] { reader->create("b"); }) == EROFS);
  CHECK(error_of([&] { reader->rename("a", "b"); }) == EROFS);
  CHECK(error_of([&] { reader->remove("a"); }) == EROFS);
  CHECK(error_of([&] { reader->sync(); }) == EROFS);
  CHECK(error_of([&] { reader->open("b"); }) == ENOENT);
  CHECK(read(*owner->open("a"), 0, 9) == "hello");
}

TEST_CASE("directory: who holds it is seen without touching the lock") {
  TemporaryFolder folder;
  CHECK_FALSE(lock_holder(folder.path()));
  auto directory = open_directory(folder.path());
  CHECK(lock_holder(folder.path()) == static_cast<std::uint64_t>(::getpid()));
  directory.reset();
  CHECK_FALSE(lock_holder(folder.path()));
}

// A limit on the size of files stands in for a disk's: it also cuts a write short in the middle.
TEST_CASE("file: a write that only half fits is an error") {
  TemporaryFolder folder;
  auto file = open_directory(folder.path())->create("a");
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  auto* const handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{10'000, before.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const int write_error = error_of([&] { file->write_at(0, std::string(20'000, 'x')); });
  const int allocate_error = error_of([&] { file->allocate(20'000); });
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &before) == 0);
  std::signal(SIGXFSZ, handler);
  CHECK(write_error == EFBIG);
  CHECK(allocate_error == EFBIG);
  CHECK(file->size() == 10'000);
}

#include "server/dry_directory.hpp"

#include <catch2/catch.hpp>
#include <stdexcept>

#include "tests/memory_directory.hpp"

using namespace kv;

TEST_CASE("dry directory: what is done on it is seen on it, and nowhere else") {
  MemoryDirectory real;
  real.restore({{"a", "hello"}, {"b", "x"}});
  DryDirectory dry(real);
  std::string bytes(9, '?');
  CHECK(dry.open("a")->read_at(0, bytes) == 5);
  dry.rename("a", "c");
  dry.remove("b");
  const auto made = dry.create("d");
  made->allocate(100);
  made->write_at(90, std::string(20, 'x'));
  made->sync();
  dry.sync();
  CHECK(made->size() == 110);
  CHECK(dry.list() == std::vector<std::string>{"c", "d"});
  CHECK(dry.open("c")->read_at(1, bytes) == 4);
  CHECK_THROWS_AS(made->read_at(0, bytes), std::logic_error);
  CHECK_THROWS_AS(dry.create("c"), FileError);
  CHECK_THROWS_AS(dry.open("a"), FileError);
  CHECK_THROWS_AS(dry.remove("a"), FileError);
  CHECK_THROWS_AS(dry.rename("a", "b"), FileError);
  CHECK(real.changes() == 0);
  CHECK(real.image() == MemoryDirectory::Image{{"a", "hello"}, {"b", "x"}});
}

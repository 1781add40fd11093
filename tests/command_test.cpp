#include "server/command.hpp"

#include <catch2/catch.hpp>

using namespace kv::command;

namespace {

const Session session{"0d9a6b1e-6f0f-4a52-9a9c-0f4f2f6f7a11", 17, 41};

std::vector<Command> examples() {
  static const std::string zeros("a\0b\0", 4);
  static const std::string big(1 << 20, 'v');
  return {
      Put{"colour", "blue", std::nullopt, std::nullopt},
      Put{"", "", std::nullopt, std::nullopt},
      Put{zeros, zeros, 0, std::nullopt},
      Put{"k", big, UINT64_MAX, session},
      Put{"k", "v", std::nullopt, Session{"", UINT64_MAX, UINT64_MAX}},
      Delete{"colour", std::nullopt, std::nullopt},
      Delete{"colour", 58, session},
      Txn{},
      Txn{{{"a", 0}, {zeros, UINT64_MAX}},
          {{Operation::What::put, "a", "v"}, {Operation::What::erase, "b", ""}, {Operation::What::put, "c", ""}},
          {{Operation::What::get, zeros, ""}},
          session},
      Members{"", {}},
      Members{"c",
              {{"n1", "i1", "127.0.0.1:7501", "127.0.0.1:7401"}, {"n2", "i2", "[::1]:1", ""}, {"n3", "", "", ""}}},
  };
}

}  // namespace

TEST_CASE("command: decode gives back what encode was given") {
  for (const Command& command : examples()) {
    const std::string bytes = encode(command);
    const std::optional<Command> decoded = decode(bytes);
    REQUIRE(decoded);
    CHECK(*decoded == command);
  }
}

TEST_CASE("command: the bytes are those of docs/formats.md") {
  CHECK(encode(Put{"ab", "c", 0x0102, std::nullopt}) == std::string("\1\1\1"
                                                                    "\2\0\0\0ab"
                                                                    "\1\0\0\0c"
                                                                    "\2\1\0\0\0\0\0\0",
                                                                    22));
  CHECK(encode(Delete{"k", std::nullopt, Session{"s", 3, 4}}) == std::string("\1\2\2"
                                                                             "\1\0\0\0k"
                                                                             "\1\0\0\0s"
                                                                             "\3\0\0\0\0\0\0\0"
                                                                             "\4\0\0\0\0\0\0\0",
                                                                             29));
  CHECK(encode(Txn{{{"k", 5}},
                   {{Operation::What::put, "a", "v"}, {Operation::What::erase, "b", ""}},
                   {{Operation::What::get, "c", ""}},
                   Session{"s", 3, 4}}) == std::string("\1\4\2"
                                                       "\1\0\0\0\1\0\0\0k\5\0\0\0\0\0\0\0"
                                                       "\2\0\0\0\1\1\0\0\0a\1\0\0\0v\2\1\0\0\0b"
                                                       "\1\0\0\0\3\1\0\0\0c"
                                                       "\1\0\0\0s"
                                                       "\3\0\0\0\0\0\0\0"
                                                       "\4\0\0\0\0\0\0\0",
                                                       72));
  CHECK(encode(Members{"c", {{"n", "i", "p", "a"}}}) == std::string("\1\3"
                                                                    "\1\0\0\0c"
                                                                    "\1\0\0\0"
                                                                    "\1\0\0\0n\1\0\0\0i\1\0\0\0p\1\0\0\0a",
                                                                    31));
}

TEST_CASE("command: a look tells those of members from others") {
  for (const Command& command : examples()) {
    CHECK(is_members(encode(command)) == std::holds_alternative<Members>(command));
  }
  CHECK_FALSE(is_members(""));
  CHECK_FALSE(is_members("\1"));
}

TEST_CASE("command: every shorter and every longer one is refused") {
  for (const Command& command : examples()) {
    std::string bytes = encode(command);
    if (bytes.size() > 1000) continue;
    for (std::size_t size = 0; size < bytes.size(); ++size) CHECK_FALSE(decode(std::string(bytes.substr(0, size))));
    for (const char more : {'\0', '\1', 'x'}) CHECK_FALSE(decode(bytes + more));
  }
}

TEST_CASE("command: another version, operation or flag is refused") {
  const std::string bytes = encode(Put{"k", "v", std::nullopt, std::nullopt});
  for (int value = 0; value < 256; ++value) {
    std::string version = bytes;
    version[0] = static_cast<char>(value);
    CHECK(decode(version).has_value() == (value == 1));
    std::string operation = bytes;
    operation[1] = static_cast<char>(value);
    CHECK(decode(operation).has_value() == (value == 1));
    std::string flags = bytes;
    flags[2] = static_cast<char>(value);
    CHECK(decode(flags).has_value() == (value == 0));
  }
}

TEST_CASE("command: a length or a count beyond the end is refused before anything is made for it") {
  CHECK_FALSE(decode(std::string("\1\1\0\xff\xff\xff\xff", 7)));
  CHECK_FALSE(decode(std::string("\1\1\0\xff\xff\xff\x7fkkkkkkkkkkkkkk", 21)));
  CHECK_FALSE(decode(std::string("\1\3\0\0\0\0\xff\xff\xff\xff", 10)));
  CHECK_FALSE(decode(std::string("\1\4\0\xff\xff\xff\xff", 7)));
  CHECK_FALSE(decode(std::string("\1\4\0\0\0\0\0\xff\xff\xff\xff", 11)));
  CHECK_FALSE(decode(std::string("\1\3\0\0\0\0\2\0\0\0", 10) + std::string(31, '\0')));
}

TEST_CASE("command: a transaction has no operation of another kind, and no flag for if_ts") {
  std::string bytes = encode(Txn{{}, {{Operation::What::get, "k", ""}}, {}, {}});
  REQUIRE(decode(bytes));
  const std::size_t what = 3 + 4 + 4;
  for (const char other : {'\0', '\4', '\xff'}) {
    std::string changed = bytes;
    changed[what] = other;
    CHECK_FALSE(decode(changed));
  }
  bytes[2] = 1;
  CHECK_FALSE(decode(bytes + std::string(8, '\0')));
}

TEST_CASE("command: members that are not in the order of their names, or twice there, are refused") {
  const std::string bytes = encode(Members{"c", {{"n1", "", "", ""}, {"n2", "", "", ""}}});
  REQUIRE(decode(bytes));
  for (const char name : {'0', '1'}) {
    std::string changed = bytes;
    changed[changed.rfind("n2") + 1] = name;
    CHECK_FALSE(decode(changed));
  }
}

TEST_CASE("command: what is accepted after any change of a byte is canonical") {
  for (const Command& command : examples()) {
    const std::string bytes = encode(command);
    if (bytes.size() > 1000) continue;
    for (std::size_t at = 0; at < bytes.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        std::string changed = bytes;
        changed[at] = static_cast<char>(changed[at] ^ (1 << bit));
        if (const auto decoded = decode(changed)) CHECK(encode(*decoded) == changed);
      }
    }
  }
}

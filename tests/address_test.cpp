#include "common/address.hpp"

#include <asio/io_context.hpp>
#include <asio/ip/address.hpp>
#include <catch2/catch.hpp>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace {

using namespace kv;

Address good(std::string_view text, bool allow_any_port = false) {
  const auto parsed = parse_address(text, allow_any_port);
  if (const auto* error = std::get_if<AddressError>(&parsed)) FAIL(error->text);
  return std::get<Address>(parsed);
}

std::string fault_of(std::string_view text) {
  const auto parsed = parse_address(text);
  const auto* error = std::get_if<AddressError>(&parsed);
  return error != nullptr ? error->text : "none";
}

TEST_CASE("addresses as people write them, and back") {
  CHECK(good("127.0.0.1:7401") == Address{"127.0.0.1", 7401});
  CHECK(good("[::1]:7401") == Address{"::1", 7401});
  CHECK(good("localhost:1") == Address{"localhost", 1});
  CHECK(good("node-1.example.org:65535") == Address{"node-1.example.org", 65535});
  CHECK(good("kv_node_1:7401") == Address{"kv_node_1", 7401});  // as containers are named
  CHECK(good("[fe80::1%lo]:7401").host == "fe80::1%lo");

  for (const char* text : {"127.0.0.1:7401", "[::1]:7401", "localhost:80"}) CHECK(good(text).text() == text);
}

TEST_CASE("port 0 is for listeners only") {
  CHECK(good("127.0.0.1:0", true) == Address{"127.0.0.1", 0});
  CHECK(fault_of("127.0.0.1:0") == "'127.0.0.1:0': the port must be a number from 1 to 65535");
}

TEST_CASE("what is wrong with an address is said") {
  const std::vector<std::pair<std::string, std::string>> cases{
      {"", "'' has no port: write host:port, such as 127.0.0.1:7401"},
      {"localhost", "'localhost' has no port: write host:port, such as 127.0.0.1:7401"},
      {"[::1]", "'[::1]' has no port: write host:port, such as 127.0.0.1:7401"},
      {"[::1]7401", "'[::1]7401' has no port: write host:port, such as 127.0.0.1:7401"},
      {":7401", "':7401' has no host: write host:port, such as 127.0.0.1:7401"},
      {"::1:7401", "'::1:7401' is ambiguous: write an IPv6 address as [address]:port"},
      {"[::1:7401", "'[::1:7401' lacks the closing bracket"},
      {"[]:7401", "'[]:7401' has no IPv6 address between its brackets"},
      {"[127.0.0.1]:7401", "'[127.0.0.1]:7401' has no IPv6 address between its brackets"},
      {"300.0.0.1:7401", "'300.0.0.1:7401': '300.0.0.1' is not an IPv4 address"},
      {"1.2:7401", "'1.2:7401': '1.2' is not an IPv4 address"},
      {"a b:7401", "'a b:7401': 'a b' is not a host's name or address"},
      {"a..b:7401", "'a..b:7401': 'a..b' is not a host's name or address"},
      {"tcp//a:7401", "'tcp//a:7401': 'tcp//a' is not a host's name or address"},
      {"a\n:7401", "'a\\n:7401': 'a\\n' is not a host's name or address"},
      {"a:", "'a:': the port must be a number from 1 to 65535"},
      {"a:65536", "'a:65536': the port must be a number from 1 to 65535"},
      {"a:-1", "'a:-1': the port must be a number from 1 to 65535"},
      {"a:07401", "'a:07401': the port must be a number from 1 to 65535"},
      {"a:7401 ", "'a:7401 ': the port must be a number from 1 to 65535"},
      {"a:http", "'a:http': the port must be a number from 1 to 65535"},
  };
  for (const auto& [text, fault] : cases) CHECK(fault_of(text) == fault);
  CHECK(fault_of(std::string(254, 'a') + ":7401") != "none");
}

TEST_CASE("lists of addresses") {
  const auto list = [](std::string_view text) { return std::get<std::vector<Address>>(parse_addresses(text)); };
  CHECK(list("a:1") == std::vector{Address{"a", 1}});
  CHECK(list("a:1,[::1]:2, b:3 ") == std::vector{Address{"a", 1}, Address{"::1", 2}, Address{"b", 3}});

  for (const char* text : {"", " ", ",", "a:1,", ",a:1", "a:1,,b:2", "a:1 b:2", "a:1;b:2"}) {
    INFO(text);
    CHECK(std::holds_alternative<AddressError>(parse_addresses(text)));
  }
}

TEST_CASE("endpoints as text") {
  CHECK(text_of({asio::ip::make_address("127.0.0.1"), 7401}) == "127.0.0.1:7401");
  CHECK(text_of({asio::ip::make_address("::1"), 7401}) == "[::1]:7401");

  asio::io_context io;
  CHECK(remote_address_of(asio::ip::tcp::socket(io)) == "(closed)");
}

}  // namespace

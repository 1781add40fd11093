// Addresses as people write them: "host:port", "127.0.0.1:7401", "[::1]:7401". Names are kept as names and
// looked up when they are used, so that a change of DNS is followed.
#pragma once

#include <asio/ip/tcp.hpp>
#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace kv {

struct Address {
  std::string host;  // without brackets
  std::uint16_t port = 0;

  std::string text() const;  // as it was written: IPv6 in brackets
  bool operator==(const Address&) const = default;
};

// What is wrong with the text, for a person.
struct AddressError {
  std::string text;
};

// Port 0 is accepted only with `allow_any_port` (listeners choose one then).
std::variant<Address, AddressError> parse_address(std::string_view text, bool allow_any_port = false);
// "a:1,b:2": at least one; blanks around the commas are allowed.
std::variant<std::vector<Address>, AddressError> parse_addresses(std::string_view text);

std::string text_of(const asio::ip::tcp::endpoint& endpoint);
// Of a socket that may have been closed meanwhile: then "(closed)".
std::string remote_address_of(const asio::ip::tcp::socket& socket);

}  // namespace kv

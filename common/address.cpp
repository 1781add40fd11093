#include "common/address.hpp"

#include <algorithm>
#include <asio/ip/address.hpp>
#include <optional>

#include "common/text.hpp"

namespace kv {
namespace {

constexpr std::size_t max_host_bytes = 253;  // of a name, by DNS

bool is_ipv6(std::string_view text) {
  std::error_code error;
  asio::ip::make_address_v6(text, error);
  return !error && text.find('\0') == text.npos;  // Asio looks at a C string
}

bool is_ipv4(std::string_view text) {
  std::error_code error;
  asio::ip::make_address_v4(text, error);
  return !error;
}

bool is_host_name(std::string_view text) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_';
  };
  return !text.empty() && text.size() <= max_host_bytes && std::all_of(text.begin(), text.end(), allowed) &&
         text.find("..") == text.npos && text.front() != '.' && text.front() != '-';
}

std::string quoted(std::string_view text) {
  return "'" + escape_control(text) + "'";
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == text.npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

// What is wrong with a host as it was written, without a port; nullopt: nothing.
std::optional<AddressError> fault_of_host(std::string_view host, bool in_brackets, std::string_view whole) {
  if (in_brackets) {
    if (is_ipv6(host)) return std::nullopt;
    return AddressError{quoted(whole) + " has no IPv6 address between its brackets"};
  }
  if (host.find(':') != host.npos) {
    return AddressError{quoted(whole) + " is ambiguous: write an IPv6 address as [address]:port"};
  }
  if (host.empty()) return AddressError{quoted(whole) + " has no host: write host:port, such as 127.0.0.1:7401"};
  if (!is_host_name(host))
    return AddressError{quoted(whole) + ": " + quoted(host) + " is not a host's name or address"};
  // Digits and dots alone are meant as an IPv4 address: the resolver would take "1.2" for 1.0.0.2.
  if (host.find_first_not_of("0123456789.") == host.npos && !is_ipv4(host)) {
    return AddressError{quoted(whole) + ": " + quoted(host) + " is not an IPv4 address"};
  }
  return std::nullopt;
}

}  // namespace

std::string Address::text() const {
  const bool brackets = host.find(':') != host.npos;
  return (brackets ? "[" + host + "]" : host) + ":" + std::to_string(port);
}

std::variant<Address, AddressError> parse_address(std::string_view text, bool allow_any_port) {
  const bool in_brackets = text.starts_with('[');
  const std::size_t close = in_brackets ? text.find(']') : text.npos;
  if (in_brackets && close == text.npos) return AddressError{quoted(text) + " lacks the closing bracket"};
  const std::size_t colon = in_brackets ? close + 1 : text.rfind(':');
  if (colon >= text.size() || text[colon] != ':') {
    return AddressError{quoted(text) + " has no port: write host:port, such as 127.0.0.1:7401"};
  }
  const std::string_view host = in_brackets ? text.substr(1, close - 1) : text.substr(0, colon);
  if (auto fault = fault_of_host(host, in_brackets, text)) return *std::move(fault);

  const auto port = parse_number(text.substr(colon + 1));
  if (!port || *port > 65535 || (*port == 0 && !allow_any_port)) {
    return AddressError{quoted(text) + ": the port must be a number from " + (allow_any_port ? "0" : "1") +
                        " to 65535"};
  }
  return Address{std::string(host), static_cast<std::uint16_t>(*port)};
}

std::variant<std::vector<Address>, AddressError> parse_addresses(std::string_view text) {
  std::vector<Address> addresses;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t comma = std::min(text.find(',', begin), text.size());
    auto address = parse_address(trimmed(text.substr(begin, comma - begin)));
    if (auto* error = std::get_if<AddressError>(&address)) return std::move(*error);
    addresses.push_back(std::get<Address>(std::move(address)));
    begin = comma + 1;
  }
  return addresses;
}

std::string text_of(const asio::ip::tcp::endpoint& endpoint) {
  return Address{endpoint.address().to_string(), endpoint.port()}.text();
}

std::string remote_address_of(const asio::ip::tcp::socket& socket) {
  std::error_code error;
  const auto endpoint = socket.remote_endpoint(error);
  return error ? "(closed)" : text_of(endpoint);
}

}  // namespace kv

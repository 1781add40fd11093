// Small things about text that both programs need: safe printing, durations, sizes, identifiers, base64.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "common/utf8.hpp"

namespace kv {

extern const char* const version;  // "1.0.0"

// Control characters (C0, DEL, C1), backslashes and invalid UTF-8 as \n, \t, \\, \x1b, …: safe for a log line
// and a terminal. At most `max_bytes` of the text are shown, then "…".
std::string escape_control(std::string_view text, std::size_t max_bytes = 256);

// "100ms", "5s", "2m", "1h": a whole number and a unit, nothing else.
std::optional<std::chrono::milliseconds> parse_duration(std::string_view text);
// "64MiB", "1GiB", "512KiB", "100B", "100": bytes. Decimal "kB", "MB", "GB" too.
std::optional<std::uint64_t> parse_size(std::string_view text);
// Decimal digits only: no sign, no leading zeros, no overflow.
std::optional<std::uint64_t> parse_number(std::string_view text);
std::string format_size(std::uint64_t bytes);                     // "1.5 MiB"
std::string format_duration(std::chrono::milliseconds duration);  // "340ms", "2.1s", "3h 12m"

std::string new_uuid();  // random (RFC 4122 version 4)
bool is_uuid(std::string_view text);

std::string base64_encode(std::string_view bytes);                // RFC 4648, padded
std::optional<std::string> base64_decode(std::string_view text);  // strict: padding and zero spare bits

}  // namespace kv

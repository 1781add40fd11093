// What is UTF-8 and what is not (RFC 3629).
#pragma once

#include <cstddef>
#include <string_view>

namespace kv {

// Bytes of the UTF-8 character (RFC 3629: no surrogates, nothing overlong, at most U+10FFFF) with which the
// text begins; 0: it does not begin with one. The text is not empty.
std::size_t utf8_length(std::string_view text);

bool is_valid_utf8(std::string_view text);

}  // namespace kv

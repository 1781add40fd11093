#include "common/text.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

using namespace kv;
using namespace std::chrono_literals;
using namespace std::string_literals;

TEST_CASE("escape_control shows what a terminal would act upon") {
  CHECK(escape_control("colour = blue") == "colour = blue");
  CHECK(escape_control("größer €5 😀") == "größer €5 😀");
  CHECK(escape_control("a\nb\rc\td") == R"(a\nb\rc\td)");
  CHECK(escape_control("\x1b[31mred") == R"(\x1b[31mred)");
  CHECK(escape_control("nul\0, del\x7f"s) == R"(nul\x00, del\x7f)");
  CHECK(escape_control("a\\n") == R"(a\\n)");
  CHECK(escape_control("\xff\xc3") == R"(\xff\xc3)");          // not UTF-8
  CHECK(escape_control("\xc2\x9b") == R"(\u009b)");            // C1: an escape sequence's start in one character
  CHECK(escape_control("\xe2\x80\xae") == R"(\u202e)");        // text would run from right to left
  CHECK(escape_control("a\xe2\x80\xa8 b") == R"(a\u2028 b)");  // a line separator
}

TEST_CASE("escape_control shows at most so many bytes, and no half characters") {
  CHECK(escape_control("abcdef", 6) == "abcdef");
  CHECK(escape_control("abcdefg", 6) == "abcdef…");
  CHECK(escape_control("abcdeé", 6) == "abcde…");
  CHECK(escape_control("abc", 0) == "…");
  CHECK(escape_control("", 0).empty());
}

TEST_CASE("UTF-8 is what RFC 3629 says") {
  const std::vector<std::pair<std::string, bool>> cases{
      {"", true},
      {"plain", true},
      {"a\0b"s, true},
      {"\xc2\x80", true},
      {"\xdf\xbf", true},
      {"\xe0\xa0\x80", true},
      {"\xed\x9f\xbf", true},
      {"\xee\x80\x80", true},
      {"\xef\xbf\xbf", true},
      {"\xf0\x90\x80\x80", true},
      {"\xf4\x8f\xbf\xbf", true},
      {"\x80", false},              // a continuation alone
      {"\xc0\xaf", false},          // overlong
      {"\xc1\xbf", false},          // overlong
      {"\xe0\x9f\xbf", false},      // overlong
      {"\xf0\x8f\xbf\xbf", false},  // overlong
      {"\xed\xa0\x80", false},      // a surrogate
      {"\xed\xbf\xbf", false},      // a surrogate
      {"\xf4\x90\x80\x80", false},  // above U+10FFFF
      {"\xf5\x80\x80\x80", false},
      {"\xff", false},
      {"\xc3", false},  // cut
      {"\xe2\x82", false},
      {"\xf0\x9f\x98", false},
      {"\xc3(", false},
      {"\xe2\x82(", false},
  };
  for (const auto& [text, valid] : cases) {
    INFO(escape_control(text));
    // Behind so many ASCII bytes, since those are looked at eight at a time.
    for (std::size_t before = 0; before <= 17; ++before) {
      CHECK(is_valid_utf8(std::string(before, 'x') + text) == valid);
      CHECK(is_valid_utf8(std::string(before, 'x') + text + "12345678") == valid);
    }
  }
}

TEST_CASE("durations have a whole number and a unit") {
  const std::vector<std::pair<std::string, std::optional<std::chrono::milliseconds>>> cases{
      {"100ms", 100ms},
      {"5s", 5s},
      {"2m", 2min},
      {"1h", 1h},
      {"0s", 0s},
      {"", std::nullopt},
      {"5", std::nullopt},
      {"s", std::nullopt},
      {"-1s", std::nullopt},
      {"+1s", std::nullopt},
      {"1.5s", std::nullopt},
      {"010s", std::nullopt},
      {"5 s", std::nullopt},
      {" 5s", std::nullopt},
      {"5s ", std::nullopt},
      {"1h30m", std::nullopt},
      {"5S", std::nullopt},
      {"99999999999999999999h", std::nullopt},
      {"18446744073709551615h", std::nullopt},
      {"18446744073709551615ms", std::nullopt},
  };
  for (const auto& [text, duration] : cases) {
    INFO(text);
    CHECK(parse_duration(text) == duration);
  }
}

TEST_CASE("sizes are bytes, or have a unit") {
  const std::vector<std::pair<std::string, std::optional<std::uint64_t>>> cases{
      {"100", 100},
      {"100B", 100},
      {"512KiB", 512u << 10},
      {"64MiB", 64u << 20},
      {"1GiB", 1u << 30},
      {"2TiB", 2ull << 40},
      {"2kB", 2000},
      {"3MB", 3'000'000},
      {"4GB", 4'000'000'000},
      {"5TB", 5'000'000'000'000},
      {"0", 0},
      {"", std::nullopt},
      {"MiB", std::nullopt},
      {"1.5MiB", std::nullopt},
      {"-1", std::nullopt},
      {"1 MiB", std::nullopt},
      {"1mib", std::nullopt},
      {"0x10", std::nullopt},
      {"18446744073709551616", std::nullopt},
      {"17179869184GiB", std::nullopt},
  };
  for (const auto& [text, size] : cases) {
    INFO(text);
    CHECK(parse_size(text) == size);
  }
}

TEST_CASE("numbers are decimal digits and nothing else") {
  CHECK(parse_number("0") == 0u);
  CHECK(parse_number("58") == 58u);
  CHECK(parse_number("18446744073709551615") == 18446744073709551615u);
  for (const char* text : {"", "-1", "+1", "01", "00", "1.0", "1e3", "0x1", " 1", "1 ", "18446744073709551616"}) {
    INFO(text);
    CHECK(parse_number(text) == std::nullopt);
  }
}

TEST_CASE("sizes and durations for people") {
  CHECK(format_size(0) == "0 B");
  CHECK(format_size(1023) == "1023 B");
  CHECK(format_size(1024) == "1 KiB");
  CHECK(format_size(1536) == "1.5 KiB");
  CHECK(format_size((1u << 20) - 1) == "1023.9 KiB");
  CHECK(format_size(3u << 19) == "1.5 MiB");
  CHECK(format_size(1u << 30) == "1 GiB");
  CHECK(format_size(18446744073709551615u) == "16777215.9 TiB");

  CHECK(format_duration(0ms) == "0ms");
  CHECK(format_duration(340ms) == "340ms");
  CHECK(format_duration(2199ms) == "2.1s");
  CHECK(format_duration(2s) == "2s");
  CHECK(format_duration(61s) == "1m 1s");
  CHECK(format_duration(3h + 12min + 59s) == "3h 12m");
  CHECK(format_duration(3h) == "3h");
  CHECK(format_duration(49h + 30min) == "2d 1h");
}

TEST_CASE("UUIDs") {
  std::set<std::string> seen;
  for (int i = 0; i < 100; ++i) {
    const std::string uuid = new_uuid();
    CHECK(is_uuid(uuid));
    CHECK(uuid[14] == '4');  // random
    seen.insert(uuid);
  }
  CHECK(seen.size() == 100);

  CHECK(is_uuid("00000000-0000-0000-0000-000000000000"));
  CHECK(is_uuid("ABCDEF01-2345-6789-abcd-ef0123456789"));
  CHECK_FALSE(is_uuid(""));
  CHECK_FALSE(is_uuid("00000000-0000-0000-0000-00000000000"));
  CHECK_FALSE(is_uuid("00000000-0000-0000-0000-0000000000000"));
  CHECK_FALSE(is_uuid("g0000000-0000-0000-0000-000000000000"));
  CHECK_FALSE(is_uuid("00000000000000000000000000000000----"));
  CHECK_FALSE(is_uuid("{0000000-0000-0000-0000-00000000000}"));
  CHECK_FALSE(is_uuid("00000000-0000-0000-0000-00000000000\0"s));
}

// RFC 4648, section 10.
TEST_CASE("base64's test vectors") {
  const std::vector<std::pair<std::string, std::string>> vectors{
      {"", ""},
      {"f", "Zg=="},
      {"fo", "Zm8="},
      {"foo", "Zm9v"},
      {"foob", "Zm9vYg=="},
      {"fooba", "Zm9vYmE="},
      {"foobar", "Zm9vYmFy"},
      {"\xfb\xff\0"s, "+/8A"},
  };
  for (const auto& [bytes, text] : vectors) {
    CHECK(base64_encode(bytes) == text);
    CHECK(base64_decode(text) == bytes);
  }
}

TEST_CASE("base64 is read strictly") {
  for (const char* text :
       {"Zg",   "Zg=", "Zg===", "Zh==",     "Zm9=",  "Z",    "Zm9v\n", " Zm9v",     "Zm 9", "Zm9_",
        "-m9v", "=",   "====",  "Zg==Zg==", "Zm9vé", "Zg..", "Zm8.",   "Zm9vZg=\n", "    ", "Zm9 vYmF"}) {
    INFO(text);
    CHECK(base64_decode(text) == std::nullopt);
  }
}

TEST_CASE("base64 of every byte, in every position") {
  std::string bytes;
  for (int i = 0; i < 256; ++i) {
    bytes += static_cast<char>(i);
    CHECK(base64_decode(base64_encode(bytes)) == bytes);
  }
}

}  // namespace

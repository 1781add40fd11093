#include "common/item_line.hpp"

#include <optional>
#include <utility>

#include "common/json.hpp"
#include "common/message.hpp"
#include "common/text.hpp"

namespace kv {
namespace {

// Recursion would overflow the stack; numbers are of no interest, and need not fit into anything.
constexpr unsigned parse_flags =
    rapidjson::kParseIterativeFlag | rapidjson::kParseNumbersAsStringsFlag | rapidjson::kParseInsituFlag;

// Takes what RapidJSON reads. The text is valid UTF-8 but for what escapes make of it.
class Handler : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Handler> {
 public:
  explicit Handler(json::ViewStream& stream) : stream_(stream) {}

  const std::string& problem() const { return problem_; }  // empty: none

  // After the last byte.
  std::variant<ItemLine, ItemLineProblem> result() {
    if (!key_) return ItemLineProblem{"\"key\" is missing"};
    if (!value_) return ItemLineProblem{"\"value\" is missing, and so is \"value_base64\""};
    return ItemLine{*std::move(key_), *std::move(value_)};
  }

  // What RapidJSON calls. False ends the parsing.
  bool Default() { return wrong_type(); }
  bool RawNumber(const char*, rapidjson::SizeType, bool) { return wrong_type(); }
  bool StartObject() { return open(); }
  bool EndObject(rapidjson::SizeType) { return close(); }
  bool StartArray() { return depth_ > 0 ? open() : fail("it is a list, not an object"); }
  bool EndArray(rapidjson::SizeType) { return close(); }

  bool Key(const char*, rapidjson::SizeType, bool) {
    if (depth_ > 1) return true;
    const std::string_view name = stream_.string();
    member_ = name == "key" ? Member::key : name == "value" ? Member::value : Member::other;
    if (name == "value_base64") member_ = Member::value_base64;
    if (member_ == Member::key && key_) return fail("\"key\" is there twice");
    if (member_ != Member::key && member_ != Member::other && value_) return fail("there are two values");
    return true;
  }

  bool String(const char*, rapidjson::SizeType, bool) {
    if (depth_ == 0) return fail("it is no JSON object");
    if (depth_ > 1 || member_ == Member::other) return true;
    const std::string_view text = stream_.string();
    // RapidJSON lets a lone low surrogate pass when it is written as an escape.
    if (stream_.string_had_escapes() && !is_valid_utf8(text)) return fail("a string has half of a surrogate pair");
    if (member_ == Member::key) return take_key(text);
    if (member_ == Member::value) return take_value(std::string(text));
    std::optional<std::string> bytes = base64_decode(text);
    if (!bytes) return fail("\"value_base64\" is not padded base64 (RFC 4648)");
    return take_value(*std::move(bytes));
  }

 private:
  enum class Member { other, key, value, value_base64 };

  bool fail(std::string text) {
    problem_ = std::move(text);
    return false;
  }

  bool open() {
    if (depth_ == 1 && member_ != Member::other) return wrong_type();
    if (++depth_ > max_json_depth)
      return fail("it nests deeper than " + std::to_string(max_json_depth) + " levels");
    return true;
  }
  bool close() {
    --depth_;
    return true;
  }

  // Null, true or false, a number, or the beginning of an object or list.
  bool wrong_type() {
    if (depth_ == 0) return fail("it is no JSON object");
    if (depth_ > 1 || member_ == Member::other) return true;
    return fail(member_ == Member::key ? "\"key\" must be a string" : "the value must be a string");
  }

  bool take_key(std::string_view key) {
    if (key.empty()) return fail("the key is empty");
    if (key.size() > max_key_bytes) return too_long("key", key.size(), max_key_bytes);
    key_ = key;
    return true;
  }
  bool take_value(std::string value) {
    if (value.size() > max_value_bytes) return too_long("value", value.size(), max_value_bytes);
    value_ = std::move(value);
    return true;
  }
  bool too_long(const char* what, std::size_t size, std::size_t limit) {
    return fail(std::string("the ") + what + " has " + std::to_string(size) + " bytes; at most " +
                std::to_string(limit) + " are allowed");
  }

  json::ViewStream& stream_;
  std::size_t depth_ = 0;
  Member member_ = Member::other;
  std::optional<std::string> key_;
  std::optional<std::string> value_;
  std::string problem_;
};

}  // namespace

std::variant<ItemLine, ItemLineProblem> parse_item_line(const std::string& line) {
  if (!is_valid_utf8(line)) return ItemLineProblem{"it is not valid UTF-8"};
  json::ViewStream stream(line);
  Handler handler(stream);
  rapidjson::Reader reader;
  const rapidjson::ParseResult result = reader.Parse<parse_flags>(stream, handler);
  if (!handler.problem().empty()) return ItemLineProblem{handler.problem()};
  if (result.IsError()) {
    return ItemLineProblem{std::string("it is not JSON: ") + rapidjson::GetParseError_En(result.Code()) +
                           " (at byte " + std::to_string(result.Offset()) + ")"};
  }
  if (stream.Tell() != line.size()) return ItemLineProblem{"something follows the JSON object"};
  return handler.result();
}

}  // namespace kv

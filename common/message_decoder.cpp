#include "common/message_decoder.hpp"

#include <algorithm>
#include <functional>

#include "common/overloaded.hpp"
#include "common/text.hpp"

namespace kv::message {
namespace {

// Text is validated beforehand, in one go, which is much faster than RapidJSON's validation. RapidJSON's own
// numbers lose what does not fit (1e400, 2^64).
constexpr unsigned parse_flags = rapidjson::kParseNumbersAsStringsFlag | rapidjson::kParseInsituFlag;
// Below the depth that is allowed the decoder only counts, in search of an "id"; here it gives up. RapidJSON's
// parser, which goes down the stack with each level (its iterative one is slower), goes no deeper.
constexpr std::size_t hopeless_depth = 1000;

// Marks in Level::seen, far above the members' own bits.
constexpr std::uint64_t type_bit = std::uint64_t{1} << 63;
constexpr std::uint64_t id_bit = std::uint64_t{1} << 62;

std::string in_quotes(std::string_view name) {
  return "\"" + escape_control(name, 64) + "\"";
}

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";

// The type of a message that begins with it; else nullopt. Takes nothing that a parser would not.
std::optional<std::string_view> leading_type(std::string_view frame) {
  static constexpr std::string_view usual = R"({"type":")";
  std::size_t i = 0;
  if (frame.starts_with(usual)) {
    i = usual.size();
  } else {
    for (const std::string_view token : {"{", "\"type\"", ":", "\""}) {
      i = std::min(frame.find_first_not_of(" \t\r\n", i), frame.size());
      if (!frame.substr(i).starts_with(token)) return std::nullopt;
      i += token.size();
    }
  }
  const std::size_t begin = i;
  while (i < frame.size() && ((frame[i] >= 'A' && frame[i] <= 'Z') || frame[i] == '_')) ++i;
  if (i == frame.size() || frame[i] != '"') return std::nullopt;
  return frame.substr(begin, i - begin);
}

// What a member must be, by the place where it is stored.
std::string_view expectation(const Slot& slot) {
  static constexpr std::string_view text = "must be a string";
  static constexpr std::string_view number = "must be an integer from 0 to 9007199254740991";
  return std::visit(
      Overloaded{
          [](Id) { return number; }, [](std::uint64_t*) { return number; },
          [](std::optional<std::uint64_t>*) { return number; },
          [](bool*) -> std::string_view { return "must be true or false"; },
          [](Consistency*) -> std::string_view { return "must be \"session\", \"linearizable\" or \"local\""; },
          [](Operation*) -> std::string_view { return "must be \"PUT\", \"DELETE\" or \"GET\""; },
          [](Code*) -> std::string_view { return "must be one of the protocol's error codes"; },
          [](const Value& value) -> std::string_view {
            return value.nullable != nullptr ? "must be a string or null" : text;
          },
          [](const Elements&) -> std::string_view { return "must be an array of objects"; },
          [](Element) -> std::string_view { return "must be an array of objects"; },
          [](const Choice&) -> std::string_view { return "must be an object that begins with its \"type\""; },
          [](const auto&) { return text; }},
      slot.target);
}

}  // namespace

// ---- The whole frame -----------------------------------------------------------------------------------

Decoder::Decoder(std::string_view frame, std::size_t max_value) : frame_(frame), max_value_(max_value) {
  if (frame_.starts_with(byte_order_mark)) {
    fault("the frame begins with a byte order mark, which JSON has not");
    frame_.remove_prefix(byte_order_mark.size());
  }
  if (!is_valid_utf8(frame_)) fault("the frame is not valid UTF-8");
}

void Decoder::fault(Code code, std::string text) {
  if (!malformed_) malformed_ = Malformed{std::nullopt, code, std::move(text)};
}

std::optional<std::string_view> Decoder::find_type() {
  if (const auto type = leading_type(frame_)) return type;
  stop_at_type_ = true;
  parse();
  if (stop_at_type_) {
    fault("a message needs a \"type\"");
    return std::nullopt;
  }
  malformed_.reset();  // whatever it is, it will be met again
  return type_;
}

void Decoder::fill(Object message, std::string_view type) {
  root_ = message;
  root_type_ = type;
  parse();
}

void Decoder::find_id() {
  root_ = {};
  parse();
}

void Decoder::parse() {
  depth_ = 0;
  names_.clear();
  slot_.expect(Whole{});
  json::ViewStream stream(frame_);
  stream_ = &stream;
  thread_local rapidjson::Reader reader;  // for its stack, which it would allocate anew for each frame
  const rapidjson::ParseResult result = reader.Parse<parse_flags>(stream, *this);
  if (result.IsError()) {
    // After a termination the reason is known already.
    if (result.Code() != rapidjson::kParseErrorTermination) {
      fault(std::string("the frame is not JSON: ") + rapidjson::GetParseError_En(result.Code()) + " (at byte " +
            std::to_string(result.Offset()) + ")");
    }
  } else if (stream.Tell() != frame_.size()) {
    fault("something follows the JSON object (at byte " + std::to_string(stream.Tell()) + ")");
  }
}

// ---- Objects and arrays --------------------------------------------------------------------------------

// Counts another level; false: there is no place for it.
bool Decoder::open() {
  ++depth_;
  if (too_deep()) {
    fault("the JSON nests deeper than " + std::to_string(max_json_depth) + " levels");
    return false;
  }
  top().kind = Level::ignored;
  top().is_element = false;
  top().owner = slot_.name;
  top().seen = 0;
  top().first_name = names_.size();
  return true;
}

bool Decoder::StartObject() {
  if (!open()) return depth_ <= hopeless_depth;
  Level& level = top();
  std::visit(Overloaded{[](Ignored) {}, [](Refused) {},
                        [&](Whole) {
                          if (root_.message == nullptr) return;
                          level.kind = Level::object;
                          level.filled = root_;
                          level.owner = root_type_;
                        },
                        [&](Element) {
                          if (failed()) return;  // a list of a million faults needs no memory
                          Level& list = levels_[depth_ - 2];
                          if (list.seen++ == list.elements.most) {
                            return fault(in_quotes(list.owner) + " has more than " +
                                         std::to_string(list.elements.most) + " elements");
                          }
                          level.kind = Level::object;
                          level.filled = list.elements.append(list.elements.vector);
                          level.is_element = true;
                        },
                        [&](const Choice& choice) {
                          level.kind = Level::choice;
                          level.chosen = choice;
                        },
                        [&](const auto&) { wrong_type(); }},
             slot_.target);
  if (level.kind == Level::ignored) slot_.expect(Ignored{});
  return true;
}

bool Decoder::StartArray() {
  if (!open()) return depth_ <= hopeless_depth;
  Level& level = top();
  std::visit(Overloaded{[](Ignored) {}, [](Refused) {},
                        [&](const Elements& list) {
                          level.kind = Level::list;
                          level.elements = list;
                        },
                        [&](const auto&) { wrong_type(); }},
             slot_.target);
  expect_next(level);
  return true;
}

bool Decoder::EndObject(rapidjson::SizeType) {
  if (!too_deep()) check_object(top());
  close();
  return true;
}

bool Decoder::EndArray(rapidjson::SizeType) {
  close();
  return true;
}

void Decoder::close() {
  --depth_;
  if (depth_ == 0 || too_deep()) return;
  expect_next(top());
}

// What comes next in the object or array: an object's next value is expected when its name has come.
void Decoder::expect_next(const Level& level) {
  if (level.kind == Level::list) {
    slot_.expect(Element{}, level.owner);
  } else {
    slot_.expect(Ignored{});
  }
}

void Decoder::check_object(const Level& level) {
  if (names_.size() > level.first_name) {
    const auto first = names_.begin() + static_cast<std::ptrdiff_t>(level.first_name);
    std::sort(first, names_.end());
    if (std::adjacent_find(first, names_.end()) != names_.end()) fault("an object repeats the name of a member");
    names_.erase(first, names_.end());
  }
  if (failed()) return;
  if (level.kind == Level::choice) fault(in_quotes(level.owner) + " must begin with its \"type\"");
  if (level.kind == Level::object) {
    Checker checker(level.seen, level.owner, level.is_element);
    level.filled.description->check(level.filled.message, checker);
    if (!checker.fault().empty()) fault(checker.fault());
  }
}

// ---- Members -------------------------------------------------------------------------------------------

// The string that RapidJSON has just read.
std::string_view Decoder::last_string() {
  const std::string_view text = stream_->string();
  // RapidJSON lets a lone low surrogate pass when it is written as an escape.
  if (stream_->string_had_escapes() && !is_valid_utf8(text)) {
    fault("a string has half of a surrogate pair, so it is not valid UTF-8");
  }
  return text;
}

bool Decoder::Key(const char*, rapidjson::SizeType, bool) {
  if (too_deep()) return true;
  const std::string_view name = last_string();
  Level& level = top();
  const std::uint64_t bit = find_slot(level, name);
  if (bit == 0) {
    // Unknown. That a name is repeated shows when the object ends: the hashes are sorted then. (Two names with
    // one 64-bit hash would have a good message refused; nobody but its author could arrange that.)
    slot_.expect(Ignored{});
    names_.push_back(std::hash<std::string_view>{}(name));
  } else if ((level.seen & bit) != 0) {
    slot_.expect(Ignored{});
    fault(in_quotes(name) + " is there twice");
  }
  level.seen |= bit;
  return true;
}

// Sets slot_ to where the member's value belongs. Returns the member's bit in Level::seen, 0 if it is unknown.
std::uint64_t Decoder::find_slot(Level& level, std::string_view name) {
  if (name == "type" && (depth_ == 1 || level.kind == Level::choice || (level.seen & type_bit) != 0)) {
    slot_.expect(Type{}, "type");
    return type_bit;
  }
  if (depth_ == 1 && name == "id") {
    slot_.expect(Id{}, "id");
    return id_bit;
  }
  if (level.kind == Level::choice) {
    fault(in_quotes(level.owner) + " must begin with its \"type\"");
    level.kind = Level::ignored;
  }
  if (level.kind != Level::object) return 0;
  Matcher matcher(name, slot_);
  level.filled.description->match(level.filled.message, matcher);
  if (!matcher.found()) return 0;
  return std::uint64_t{1} << matcher.bit();
}

// ---- Values --------------------------------------------------------------------------------------------

bool Decoder::Null() {
  if (too_deep()) return true;
  std::visit(Overloaded{[](Ignored) {}, [](Refused) {},
                        [&](const Value& value) {
                          if (value.nullable == nullptr) return wrong_type();
                          value.nullable->reset();
                        },
                        [&](const auto&) { wrong_type(); }},
             slot_.target);
  return true;
}

bool Decoder::Bool(bool yes) {
  if (too_deep()) return true;
  std::visit(Overloaded{[](Ignored) {}, [](Refused) {}, [&](bool* field) { *field = yes; },
                        [&](const auto&) { wrong_type(); }},
             slot_.target);
  return true;
}

bool Decoder::RawNumber(const char*, rapidjson::SizeType size, bool) {
  if (too_deep()) return true;
  std::optional<std::uint64_t> number = parse_number(stream_->number(size));  // so that "1.0" and "1e3" are none
  if (number && *number > max_integer) number.reset();
  std::visit(Overloaded{[](Ignored) {}, [](Refused) {},
                        [&](Id) {
                          if (!number) return wrong_type();
                          id_ = number;
                        },
                        [&](std::uint64_t* field) { store_number(*field, number); },
                        [&](std::optional<std::uint64_t>* field) { store_number(field->emplace(), number); },
                        [&](const Constant& constant) {
                          if (!constant.text.empty() || number != constant.number)
                            fault(std::string(constant.fault));
                        },
                        [&](const auto&) { wrong_type(); }},
             slot_.target);
  return true;
}

bool Decoder::String(const char*, rapidjson::SizeType, bool) {
  if (too_deep()) return true;
  const std::string_view text = last_string();
  if (stop_at_type_ && depth_ == 1 && std::holds_alternative<Type>(slot_.target)) {
    stop_at_type_ = false;
    type_ = text;
    return false;
  }
  store_text(text);
  return true;
}

void Decoder::store_text(std::string_view text) {
  std::visit(Overloaded{[](Ignored) {}, [&](Type) { store_type(text); },
                        [&](std::string* field) { store_string(*field, text); },
                        [&](std::optional<std::string>* field) { store_string(field->emplace(), text); },
                        [&](Consistency* field) {
                          const auto named = consistency_named(text);
                          if (!named) return wrong_type();
                          *field = *named;
                        },
                        [&](Operation* field) {
                          const auto named = operation_named(text);
                          if (!named) return wrong_type();
                          *field = *named;
                        },
                        [&](Code* field) {
                          const auto named = code_named(text);
                          if (!named) return wrong_type();
                          *field = *named;
                        },
                        [&](const Value& value) { store_value(value, text); },
                        [&](const Base64Value& base64) { store_base64(base64.value, text); },
                        [&](const Constant& constant) {
                          if (constant.text != text) fault(std::string(constant.fault));
                        },
                        [&](const Refused& refused) {
                          if (refused.text == text) fault(std::string(refused.fault));
                        },
                        [&](const auto&) { wrong_type(); }},
             slot_.target);
}

void Decoder::store_type(std::string_view text) {
  Level& level = top();
  if (level.kind != Level::choice) return;  // the message's own, which is known
  const std::string_view type = level.chosen.choose(level.chosen.variant, text);
  if (type.empty()) {
    fault(in_quotes(level.owner) + " has a \"type\" that is not known here: " + in_quotes(text));
    level.kind = Level::ignored;
    return;
  }
  const Object object{level.chosen.variant, level.chosen.description};
  level.kind = Level::object;
  level.filled = object;
  level.owner = type;
}

void Decoder::store_string(std::string& field, std::string_view text) {
  if (slot_.rule == Rule::key) {
    if (text.empty()) return fault(in_quotes(slot_.name) + " must not be empty");
    if (text.size() > max_key_bytes) return too_large(text.size(), max_key_bytes);
  }
  if (slot_.rule == Rule::prefix && text.size() > max_key_bytes) return too_large(text.size(), max_key_bytes);
  if (slot_.rule == Rule::uuid && !is_uuid(text)) return fault(in_quotes(slot_.name) + " must be a UUID");
  field = text;
}

void Decoder::store_value(const Value& value, std::string_view text) {
  if (text.size() > max_value_) return too_large(text.size(), max_value_);
  (value.nullable != nullptr ? value.nullable->emplace() : *value.bytes) = text;
}

void Decoder::store_base64(const Value& value, std::string_view text) {
  const std::size_t at_least = text.size() < 4 ? 0 : text.size() / 4 * 3 - 2;
  if (at_least > max_value_) return too_large(at_least, max_value_);  // without decoding it
  auto bytes = base64_decode(text);
  if (!bytes) return fault(in_quotes(slot_.name) + " is not padded base64 (RFC 4648)");
  if (bytes->size() > max_value_) return too_large(bytes->size(), max_value_);
  (value.nullable != nullptr ? value.nullable->emplace() : *value.bytes) = *std::move(bytes);
}

void Decoder::store_number(std::uint64_t& field, std::optional<std::uint64_t> number) {
  if (!number) return wrong_type();
  if (slot_.rule == Rule::at_least_one && *number == 0) return fault(in_quotes(slot_.name) + " must be at least 1");
  field = slot_.rule == Rule::timeout ? std::min(*number, max_timeout_ms) : *number;
}

void Decoder::too_large(std::size_t size, std::size_t limit) {
  fault(Code::too_large, in_quotes(slot_.name) + " has " + std::to_string(size) + " bytes; at most " +
                             std::to_string(limit) + " are allowed");
}

void Decoder::wrong_type() {
  if (std::holds_alternative<Whole>(slot_.target)) return fault("a message must be a JSON object");
  if (const auto* constant = std::get_if<Constant>(&slot_.target)) return fault(std::string(constant->fault));
  fault(in_quotes(slot_.name).append(" ").append(expectation(slot_)));
}

}  // namespace kv::message

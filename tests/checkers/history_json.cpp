#include "tests/checkers/history_json.hpp"

#include <algorithm>
#include <charconv>
#include <map>
#include <utility>

#include "common/json.hpp"

namespace kv::history {
namespace {

// A line that can't be read: thrown and caught in this file.
struct Problem {
  std::string text;
};

[[noreturn]] void refuse(std::string text) {
  throw Problem{std::move(text)};
}

std::string quote(std::string_view name) {
  return '"' + std::string(name) + '"';
}

struct Null {};
struct Number {
  std::string text;
};
struct Nested {};
using Value = std::variant<Null, bool, Number, std::string, Nested>;
using Members = std::map<std::string, Value, std::less<>>;

// RapidJSON's handler for one flat object. Nested values are skipped: they can only be members that nobody asks
// for.
class Handler {
 public:
  bool Null() { return value(history::Null{}); }
  bool Bool(bool b) { return value(b); }
  bool RawNumber(const char* text, rapidjson::SizeType length, bool) {
    return value(Number{std::string(text, length)});
  }
  bool String(const char* text, rapidjson::SizeType length, bool) { return value(std::string(text, length)); }
  bool Key(const char* text, rapidjson::SizeType length, bool) {
    if (depth_ > 1) return true;
    name_.assign(text, length);
    if (members_.contains(name_)) refuse(quote(name_) + " stands there twice");
    return true;
  }
  bool StartObject() { return ++depth_ == 1 || depth_ > 2 || keep(Nested{}); }
  bool EndObject(rapidjson::SizeType) { return depth_-- > 0; }
  bool StartArray() {
    if (depth_ == 0) refuse("not an object");
    return ++depth_ > 2 || keep(Nested{});
  }
  bool EndArray(rapidjson::SizeType) { return depth_-- > 0; }
  // Never called: numbers come as they stand.
  bool Int(int) { return false; }
  bool Uint(unsigned) { return false; }
  bool Int64(std::int64_t) { return false; }
  bool Uint64(std::uint64_t) { return false; }
  bool Double(double) { return false; }

  Members take() { return std::move(members_); }

 private:
  bool value(Value v) {
    if (depth_ == 0) refuse("not an object");
    return depth_ > 1 || keep(std::move(v));
  }
  bool keep(Value v) {
    members_.insert_or_assign(name_, std::move(v));
    return true;
  }

  std::size_t depth_ = 0;
  std::string name_;
  Members members_;
};

Members parse_object(std::string line) {
  if (line.find('\0') != std::string::npos) refuse("a zero byte");
  const std::size_t size = line.size();
  line.append(4, '\0');  // a cut UTF-8 sequence makes RapidJSON look further
  rapidjson::StringStream stream(line.c_str());
  rapidjson::Reader reader;
  Handler handler;
  constexpr unsigned flags = rapidjson::kParseIterativeFlag | rapidjson::kParseValidateEncodingFlag |
                             rapidjson::kParseNumbersAsStringsFlag;
  const rapidjson::ParseResult result = reader.Parse<flags>(stream, handler);
  if (result.IsError()) {
    refuse("not JSON: " + std::string(rapidjson::GetParseError_En(result.Code())) + " (at byte " +
           std::to_string(std::min(result.Offset(), size)) + ")");
  }
  return handler.take();
}

// Takes the members of one line, each once; what is left over in the end does not belong there.
class Line {
 public:
  explicit Line(Members members) : members_(std::move(members)) {}

  bool has(std::string_view name) const { return members_.contains(name); }

  std::string text(std::string_view name) {
    Value value = need(name);
    if (auto* text = std::get_if<std::string>(&value)) return std::move(*text);
    refuse(quote(name) + " is no string");
  }
  std::string text(std::string_view name, std::string_view otherwise) {
    return has(name) ? text(name) : std::string(otherwise);
  }
  std::optional<std::string> text_or_null(std::string_view name) {
    if (const auto at = members_.find(name); at != members_.end() && std::holds_alternative<Null>(at->second)) {
      members_.erase(at);
      return std::nullopt;
    }
    return text(name);
  }
  std::uint64_t number(std::string_view name) {
    const Value value = need(name);
    std::uint64_t out = 0;
    if (const auto* digits = std::get_if<Number>(&value)) {
      const char* end = digits->text.data() + digits->text.size();
      const auto [at, error] = std::from_chars(digits->text.data(), end, out);
      if (error == std::errc() && at == end) return out;
    }
    refuse(quote(name) + " is no integer from 0 to 2^64-1");
  }
  std::optional<std::uint64_t> optional_number(std::string_view name) {
    return has(name) ? std::optional(number(name)) : std::nullopt;
  }
  bool truth(std::string_view name) {
    const Value value = need(name);
    if (const bool* b = std::get_if<bool>(&value)) return *b;
    refuse(quote(name) + " is neither true nor false");
  }
  // The place of the member's text in `words`.
  std::size_t word(std::string_view name, std::initializer_list<std::string_view> words,
                   std::optional<std::string_view> otherwise = std::nullopt) {
    const std::string text_there = otherwise ? text(name, *otherwise) : text(name);
    const auto at = std::find(words.begin(), words.end(), text_there);
    if (at == words.end()) refuse(quote(name) + " is " + quote(text_there) + ", which is no such thing");
    return static_cast<std::size_t>(at - words.begin());
  }

  void nothing_else(std::string_view kind) const {
    for (const std::string_view name :
         {"value", "if_ts", "consistency", "asked_ts", "ts", "found", "read", "applied", "conflict"}) {
      if (has(name)) refuse(quote(name) + " does not belong to the " + std::string(kind));
    }
  }

 private:
  Value need(std::string_view name) {
    const auto at = members_.find(name);
    if (at == members_.end()) refuse("no " + quote(name));
    Value value = std::move(at->second);
    members_.erase(at);
    return value;
  }

  Members members_;
};

void take_answer(Line& line, EventType type, Operation& operation) {
  const bool get = operation.function == Function::get;
  if (type == EventType::fail && !get) operation.conflict = line.optional_number("conflict");
  if (type != EventType::ok) return;
  operation.ts = line.number("ts");
  if (operation.function == Function::del) operation.found = line.truth("found");
  if (!get) return;
  operation.read = line.text_or_null("read");
  operation.applied = line.number("applied");
}

Event parse_line(std::string text) {
  Line line(parse_object(std::move(text)));
  Event event;
  event.index = line.number("index");
  event.time = line.number("time");
  event.process = line.number("process");
  event.op = line.number("op");
  event.type = static_cast<EventType>(line.word("type", {"invoke", "ok", "fail", "info"}));
  Operation& operation = event.operation;
  operation.function = static_cast<Function>(line.word("f", {"put", "delete", "get"}));
  operation.key = line.text("key");
  operation.session = line.text("session", "");
  operation.node = line.text("node", "");
  if (operation.function == Function::get) {
    const std::size_t consistency = line.word("consistency", {"session", "linearizable", "local"}, "session");
    operation.consistency = static_cast<Consistency>(consistency);
    operation.asked_ts = line.optional_number("asked_ts").value_or(0);
  } else {
    if (operation.function == Function::put) operation.value = line.text("value");
    operation.if_ts = line.optional_number("if_ts");
  }
  take_answer(line, event.type, operation);
  line.nothing_else(std::string(to_string(event.type)) + " of a " + std::string(to_string(operation.function)));
  return event;
}

void write_answer(json::Writer& writer, const Event& event) {
  const Operation& operation = event.operation;
  if (event.type == EventType::fail && operation.conflict) {
    writer.name("conflict");
    writer.number(*operation.conflict);
  }
  if (event.type != EventType::ok) return;
  writer.name("ts");
  writer.number(operation.ts);
  if (operation.function == Function::del) {
    writer.name("found");
    writer.boolean(operation.found);
  }
  if (operation.function != Function::get) return;
  writer.name("read");
  if (operation.read) {
    writer.escaped_string(*operation.read);
  } else {
    writer.null();
  }
  writer.name("applied");
  writer.number(operation.applied);
}

void write_asked(json::Writer& writer, const Operation& operation) {
  const auto text = [&](const char* name, std::string_view value) {
    writer.name(name);
    writer.escaped_string(value);
  };
  text("f", to_string(operation.function));
  text("key", operation.key);
  if (operation.function == Function::put) text("value", operation.value);
  if (operation.if_ts) {
    writer.name("if_ts");
    writer.number(*operation.if_ts);
  }
  if (operation.function != Function::get) return;
  text("consistency", to_string(operation.consistency));
  writer.name("asked_ts");
  writer.number(operation.asked_ts);
}

void write_event(std::string& out, const Event& event) {
  json::TextSink sink;
  json::Writer writer(sink);
  const auto number = [&](const char* name, std::uint64_t value) {
    writer.name(name);
    writer.number(value);
  };
  writer.start_object();
  number("index", event.index);
  number("time", event.time);
  number("process", event.process);
  writer.name("session");
  writer.escaped_string(event.operation.session);
  number("op", event.op);
  writer.name("node");
  writer.escaped_string(event.operation.node);
  writer.name("type");
  writer.escaped_string(std::string(to_string(event.type)));
  write_asked(writer, event.operation);
  write_answer(writer, event);
  writer.end_object();
  out.append(sink.text());
  out += '\n';
}

}  // namespace

std::variant<std::vector<Event>, Unreadable> parse(std::string_view text) {
  std::vector<Event> events;
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    try {
      events.push_back(parse_line(std::string(line)));
    } catch (const Problem& problem) {
      return Unreadable{number, "line " + std::to_string(number) + ": " + problem.text};
    }
  }
  return events;
}

std::string write(const std::vector<Event>& events) {
  std::string out;
  for (const Event& event : events) write_event(out, event);
  return out;
}

std::string write(const History& history) {
  return write(to_events(history));
}

}  // namespace kv::history

// Messages -> JSON: a visitor of describe() (message_fields.hpp) that writes what it is shown.
#include <charconv>
#include <iterator>
#include <stdexcept>
#include <type_traits>

#include "common/json.hpp"
#include "common/message.hpp"
#include "common/message_fields.hpp"
#include "common/text.hpp"

namespace kv::message {
namespace {

class Encoder {
 public:
  explicit Encoder(json::Writer& writer) : writer_(writer) {}

  // The object of a message: its type, its id if it has one, and its members.
  void message(std::string_view type, const std::optional<std::uint64_t>& id, const auto& described) {
    writer_.start_object();
    writer_.name("type");
    writer_.plain_string(type);
    if (id) required("id", *id);
    describe(*this, described);
    writer_.end_object();
  }

  // Into describe(), where the name is known.
  template <class Field>
  [[gnu::always_inline]] void required(std::string_view name, const Field& field, Rule rule = Rule::none) {
    if constexpr (std::is_convertible_v<const Field&, std::string_view>) {
      if (writer_.plain_member(name, field)) return;
    }
    writer_.name(name);
    put(field, rule);
  }
  void standard(std::string_view name, const auto& field, Rule rule = Rule::none) { required(name, field, rule); }
  template <class Field>
  void optional(std::string_view name, const Field& field, Rule rule = Rule::none) {
    if (field != Field{}) required(name, field, rule);
  }
  void constant(std::string_view name, std::string_view value, std::string_view) { required(name, value); }
  void constant(std::string_view name, std::uint64_t value, std::string_view) { required(name, value); }
  void refused(std::string_view, std::string_view, std::string_view) {}

  void value(std::string_view bytes) {
    if (writer_.plain_member("value", bytes)) return;
    const json::ValueForm form = json::form_of_value(bytes);
    if (form.is_text) {
      writer_.name("value");
      writer_.string(bytes, form.needs);
    } else {
      writer_.name("value_base64");
      writer_.plain_string(base64_encode(bytes));
    }
  }
  template <class Text>
  void value(const std::optional<Text>& bytes) {
    if (bytes) return value(std::string_view(*bytes));
    writer_.name("value");
    writer_.null();
  }
  template <class Text>
  void value_if_any(const std::optional<Text>& bytes) {
    if (bytes) value(std::string_view(*bytes));
  }
  void demand(bool, std::string_view) {}

  template <class T>
  void group(const std::optional<T>& members) {
    if (members) describe(*this, *members);
  }

 private:
  void put(std::uint64_t number, Rule) { writer_.number(number); }
  void put(bool yes, Rule) { writer_.boolean(yes); }
  void put(Code code, Rule) { writer_.plain_string(name_of(code)); }
  void put(Consistency consistency, Rule) { writer_.plain_string(name_of(consistency)); }
  void put(Operation operation, Rule) { writer_.plain_string(name_of(operation)); }

  void put(std::string_view text, Rule rule) {
    const json::StringNeeds needs = json::needs_of(text);
    if (!needs.not_ascii || is_valid_utf8(text)) return writer_.string(text, needs);
    // A message may hold what the system said; another key would be another key.
    if (rule == Rule::key) throw std::invalid_argument("the key is not valid UTF-8");
    const std::string escaped = escape_control(text, text.size());
    writer_.string(escaped, json::needs_of(escaped));
  }
  void put(const std::string& text, Rule rule) { put(std::string_view(text), rule); }

  template <class T>
  void put(const std::optional<T>& field, Rule rule) {
    put(*field, rule);
  }

  template <class T>
  void put(const std::vector<T>& elements, Rule) {
    writer_.start_array();
    for (const T& element : elements) {
      writer_.start_object();
      describe(*this, element);
      writer_.end_object();
    }
    writer_.end_array();
  }

  template <class... T>
  void put(const std::variant<T...>& choice, Rule) {
    message(type_name_of(choice), std::nullopt, choice);
  }

  json::Writer& writer_;
};

void encode_message(std::string_view type, std::optional<std::uint64_t> id, const auto& message, std::string& out) {
  thread_local json::TextSink sink;  // kept for its memory
  sink.clear();
  json::Writer writer(sink);
  Encoder(writer).message(type, id, message);
  out.append(sink.text());
}

constexpr std::string_view event_begin = R"({"type":"EVENT",)";

void encode_shared(const SharedEvent& shared, std::uint64_t id, std::string& out) {
  SharedEvent::Once& once = *shared.once;
  if (once.json.empty()) encode_message(type_name<Event>, std::nullopt, once.event, once.json);
  char digits[20];
  const auto [end, error] = std::to_chars(std::begin(digits), std::end(digits), id);
  out.append(event_begin).append("\"id\":").append(digits, end);
  out.append(shared.more ? ",\"more\":true," : ",");
  out.append(once.json, event_begin.size());
}

}  // namespace

void encode(const Request& request, std::string& out) {
  encode_message(type_of(request), request.id, request, out);
}
void encode(const Answer& answer, std::string& out) {
  if (const auto* shared = std::get_if<SharedEvent>(&answer.body)) return encode_shared(*shared, *answer.id, out);
  encode_message(type_of(answer), answer.id, answer, out);
}
void encode(const Peer& peer, std::string& out) {
  encode_message(type_of(peer), std::nullopt, peer, out);
}
void encode(const ReplicationView& replication, std::string& out) {
  encode_message(type_name<ReplicationView>, std::nullopt, replication, out);
}

}  // namespace kv::message

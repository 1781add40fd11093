// The three decoders of message.hpp: which types may come, and what is said of others. What is written as usual is
// read as such; the Decoder reads all, and finds what is wrong.
#include <initializer_list>

#include "common/message.hpp"
#include "common/message_decoder.hpp"
#include "common/message_fields.hpp"
#include "common/message_usual.hpp"
#include "common/text.hpp"

namespace kv::message {
namespace {

// A message that belongs elsewhere, and how to say so.
struct Elsewhere {
  bool (*has)(std::string_view type);
  std::string_view remark;
};

template <class Variant>
bool has_type(std::string_view type) {
  Variant any;
  return emplace_named(type, any);
}

std::string unknown_type(std::string_view type, std::initializer_list<Elsewhere> elsewhere) {
  for (const auto& [has, remark] : elsewhere) {
    if (has(type)) return std::string(type).append(remark);
  }
  return "the type \"" + escape_control(type, 64) + "\" is not known";
}

// Reads the frame into `message`, of which `body` is the part that depends on the type.
template <class Message>
void decode_into(Decoder& decoder, Message& message, auto& body, std::initializer_list<Elsewhere> elsewhere) {
  if (decoder.failed()) return decoder.find_id();
  const auto type = decoder.find_type();
  if (!type) return;
  if (emplace_named(*type, body)) return decoder.fill(object_of(message), type_name_of(body));
  decoder.fault(unknown_type(*type, elsewhere));
  decoder.find_id();
}

bool read_usual(std::string_view frame, std::size_t max_value, auto& message, auto& body,
                std::optional<std::uint64_t>& id) {
  return is_valid_utf8(frame) && UsualReader(frame, max_value).read(message, body, id);
}

std::variant<Request, Malformed> decode_any_request(std::string_view frame, DecodeLimits limits) {
  static constexpr std::string_view answer = " is an answer: a client sends requests";
  static constexpr std::string_view peer = " is for the peer listener: this listener is for clients";
  Request request;
  Decoder decoder(frame, limits.max_value);
  decode_into(decoder, request, request.body, {{has_type<AnswerBody>, answer}, {has_type<Peer>, peer}});
  if (!decoder.id() && !decoder.failed()) decoder.fault(std::string(type_of(request)) + " needs \"id\"");
  if (decoder.failed()) return decoder.malformed();
  request.id = *decoder.id();
  return request;
}

// Who could not even be told which request is meant gets an ERROR without an id.
bool may_lack_id(const Answer& answer) {
  return std::holds_alternative<Error>(answer.body);
}

std::variant<Answer, Malformed> decode_any_answer(std::string_view frame) {
  Answer answer;
  Decoder decoder(frame, frame.size());
  decode_into(decoder, answer, answer.body, {});
  if (!decoder.id() && !decoder.failed() && !may_lack_id(answer)) {
    decoder.fault(std::string(type_of(answer)) + " needs \"id\"");
  }
  if (decoder.failed()) return decoder.malformed();
  answer.id = decoder.id();
  return answer;
}

std::variant<Peer, Malformed> decode_any_peer(std::string_view frame) {
  static constexpr std::string_view client = " is for the client listener: this listener is for servers";
  Peer peer;
  Decoder decoder(frame, frame.size());
  decode_into(decoder, peer, peer, {{has_type<RequestBody>, client}, {has_type<AnswerBody>, client}});
  if (decoder.failed()) return decoder.malformed();
  return peer;
}

}  // namespace

std::variant<Request, Malformed> decode_request(std::string_view frame, DecodeLimits limits) {
  std::variant<Request, Malformed> result;
  auto& request = std::get<Request>(result);
  std::optional<std::uint64_t> id;
  if (read_usual(frame, limits.max_value, request, request.body, id) && id) {
    request.id = *id;
  } else {
    result = decode_any_request(frame, limits);
  }
  return result;
}

std::variant<Answer, Malformed> decode_answer(std::string_view frame) {
  std::variant<Answer, Malformed> result;
  auto& answer = std::get<Answer>(result);
  const bool usual = read_usual(frame, frame.size(), answer, answer.body, answer.id);
  if (!usual || (!answer.id && !may_lack_id(answer))) result = decode_any_answer(frame);
  return result;
}

// Values have no limit here but the frame's: what one server takes from a client the others must take too,
// whatever their own flags say.
std::variant<Peer, Malformed> decode_peer(std::string_view frame) {
  std::variant<Peer, Malformed> result;
  auto& peer = std::get<Peer>(result);
  std::optional<std::uint64_t> ignored;
  if (!read_usual(frame, frame.size(), peer, peer, ignored)) result = decode_any_peer(frame);
  return result;
}

}  // namespace kv::message

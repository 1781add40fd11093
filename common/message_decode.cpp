// The three decoders of message.hpp: which types may come, and what is said of others.
#include <initializer_list>

#include "common/message.hpp"
#include "common/message_decoder.hpp"
#include "common/message_fields.hpp"
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

}  // namespace

std::variant<Request, Malformed> decode_request(std::string_view frame, DecodeLimits limits) {
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

std::variant<Answer, Malformed> decode_answer(std::string_view frame) {
  Answer answer;
  Decoder decoder(frame, frame.size());
  decode_into(decoder, answer, answer.body, {});
  if (!decoder.id() && !decoder.failed() && !std::holds_alternative<Error>(answer.body)) {
    decoder.fault(std::string(type_of(answer)) + " needs \"id\"");
  }
  if (decoder.failed()) return decoder.malformed();
  answer.id = decoder.id();
  return answer;
}

// Values have no limit here but the frame's: what one server takes from a client the others must take too,
// whatever their own flags say.
std::variant<Peer, Malformed> decode_peer(std::string_view frame) {
  static constexpr std::string_view client = " is for the client listener: this listener is for servers";
  Peer peer;
  Decoder decoder(frame, frame.size());
  decode_into(decoder, peer, peer, {{has_type<RequestBody>, client}, {has_type<AnswerBody>, client}});
  if (decoder.failed()) return decoder.malformed();
  return peer;
}

}  // namespace kv::message

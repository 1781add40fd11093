// Messages: the three decoders on arbitrary bytes. Each input is given to all three, as they share nearly all of
// their code. For every input:
//
// - what is taken is one sound JSON object in UTF-8, no deeper than 32, without a name that is repeated;
// - what is taken is encoded to JSON that means the same, and encoding that once more changes no byte;
// - what is refused is refused in a text that is short and safe to print, and with the id wherever the JSON is
//   sound, also behind the fault; sound JSON is never called something else;
// - a limit on values refuses what is too large, and changes nothing else;
// - with a space before it, it is taken or refused all the same.
//
// Whether JSON is sound is decided by json_judge.hpp, not by the parser that is being tested.
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "common/message.hpp"
#include "tests/fuzz/fuzz.hpp"
#include "tests/fuzz/json_judge.hpp"
#include "tests/message_frames.hpp"

namespace {

using namespace kv;
using namespace kv::message;
using fuzz::Judgement;
using fuzz::require;

constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
constexpr std::size_t longest_text = 700;  // two names of 64 bytes, escaped, and what stands around them

// What is known of a frame before any decoder has seen it.
struct Facts {
  bool marked = false;  // by a byte order mark
  bool utf8 = false;
  Judgement json;
};

Facts look_at(std::string_view text) {
  Facts facts;
  facts.marked = text.starts_with(byte_order_mark);
  if (facts.marked) text.remove_prefix(byte_order_mark.size());
  facts.utf8 = fuzz::is_utf8(text);
  facts.json = fuzz::JsonJudge::judge(text);
  return facts;
}

// No control character: C0, DEL and C1, which in UTF-8 is C2 and 80 to 9F.
bool is_printable(std::string_view text) {
  unsigned char before = 0;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || (before == 0xc2 && byte < 0xa0)) return false;
    before = byte;
  }
  return fuzz::is_utf8(text);
}

void check_taken(const Facts& facts) {
  require(!facts.marked && facts.utf8, "what is taken is UTF-8, without a byte order mark");
  require(facts.json.sound && facts.json.object, "what is taken is one JSON object");
  require(facts.json.depth <= max_json_depth, "what is taken is not deeper than allowed");
  require(!facts.json.repeats, "what is taken repeats no name");
  require(!facts.json.half_surrogate, "what is taken has no half of a surrogate pair");
  require(facts.json.has_type, "what is taken has a type");
}

void check_refused(const Facts& facts, const Malformed& malformed) {
  require(!malformed.text.empty(), "a refusal says why");
  require(malformed.text.size() <= longest_text, "the text of a refusal is bounded");
  require(is_printable(malformed.text), "the text of a refusal is safe to print");
  require(!malformed.id || *malformed.id <= max_integer, "an id is one of the protocol's integers");
  require(malformed.code == Code::bad_request || malformed.code == Code::too_large,
          "a refusal has one of two codes");
  // RapidJSON gives up at numbers beyond a double's.
  if (!facts.json.sound || facts.json.huge_number) return;
  require(!malformed.text.starts_with("the frame is not JSON"), "sound JSON is not called something else");
  if (facts.json.object) require(malformed.id == facts.json.id, "the id is found, also behind the fault");
}

void check_id(const Facts& facts, const Request& request) {
  require(facts.json.id == request.id, "the id is the request's");
}
void check_id(const Facts& facts, const Answer& answer) {
  require(facts.json.id == answer.id, "the id is the answer's");
}
void check_id(const Facts&, const Peer&) {}

template <class Message, class Read>
void check(const Facts& facts, const std::variant<Message, Malformed>& decoded, Read read) {
  if (const auto* malformed = std::get_if<Malformed>(&decoded)) return check_refused(facts, *malformed);
  check_taken(facts);
  const Message& message = std::get<Message>(decoded);
  check_id(facts, message);
  const std::string json = json_of(message);
  const Judgement judgement = fuzz::JsonJudge::judge(json);
  require(judgement.sound && !judgement.repeats && fuzz::is_utf8(json), "what is encoded is JSON");
  require(!judgement.inexact, "numbers are the protocol's integers");
  const std::variant<Message, Malformed> again = read(json);
  require(std::holds_alternative<Message>(again), "what is encoded can be decoded");
  require(std::get<Message>(again) == message, "what is encoded means the same");
  require(json_of(std::get<Message>(again)) == json, "encoding is stable");
  require(!type_of(message).empty(), "every message has a name");
}

// A space before it changes nothing but who reads it: what is written as usual is read without a parser else.
template <class Message>
void check_behind_a_space(const std::variant<Message, Malformed>& usual,
                          const std::variant<Message, Malformed>& parsed) {
  require(usual.index() == parsed.index(), "either way it is taken, or refused");
  if (const auto* message = std::get_if<Message>(&usual)) {
    require(*message == std::get<Message>(parsed), "either way it means the same");
  } else {
    const auto& malformed = std::get<Malformed>(usual);
    require(malformed.code == std::get<Malformed>(parsed).code && malformed.id == std::get<Malformed>(parsed).id,
            "either way it is refused alike");
  }
}

void check_value_limit(const std::variant<Request, Malformed>& decoded, std::string_view text) {
  constexpr std::size_t limit = 5;
  const std::variant<Request, Malformed> limited = read_request(text, {limit});
  const auto* request = std::get_if<Request>(&decoded);
  if (request == nullptr) {
    require(std::holds_alternative<Malformed>(limited), "a limit makes nothing good that was bad");
    return;
  }
  const auto* put = std::get_if<Put>(&request->body);
  if (put != nullptr && put->value.size() > limit) {
    const auto* malformed = std::get_if<Malformed>(&limited);
    require(malformed != nullptr && malformed->code == Code::too_large, "a value beyond the limit is TOO_LARGE");
    require(malformed->id == request->id, "a refusal by size has the id");
  } else {
    require(std::holds_alternative<Request>(limited) && std::get<Request>(limited) == *request,
            "a limit that is kept changes nothing");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const Facts facts = look_at(text);
  const auto request = read_request(text);
  check(facts, request, [](std::string_view json) { return read_request(json); });
  check(facts, read_answer(text), [](std::string_view json) { return read_answer(json); });
  check(facts, read_peer(text), [](std::string_view json) { return read_peer(json); });
  check_value_limit(request, text);
  if (facts.marked) return 0;
  const std::string behind_a_space = ' ' + std::string(text);
  check_behind_a_space(request, read_request(behind_a_space));
  check_behind_a_space(read_answer(text), read_answer(behind_a_space));
  check_behind_a_space(read_peer(text), read_peer(behind_a_space));
  return 0;
}

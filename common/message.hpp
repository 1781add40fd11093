// The messages of the wire protocol (docs/protocol.md) as plain typed structs, and their JSON form.
//
// A frame's body is one JSON object; `decode_*` turns it into a struct, `encode` appends the struct's JSON
// to a buffer. There is one decoder for each listener, since what may arrive there differs: requests from
// clients, answers to clients, and what servers say to each other. Nothing here knows sockets or RapidJSON. What is
// decoded owns its strings.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

#include "common/message_client.hpp"
#include "common/message_peer.hpp"

namespace kv::message {

// What was wrong with a frame: becomes an ERROR with `id`, `code` and `text`, which names the member at fault.
// `id` is there whenever the JSON is sound enough to find one, also behind the fault (but not behind a number
// beyond a double's range, at which the parser gives up). `text` is safe to print.
struct Malformed {
  std::optional<std::uint64_t> id;
  Code code = Code::bad_request;
  std::string text;
};

struct DecodeLimits {
  std::size_t max_value = max_value_bytes;  // longer: TOO_LARGE
};

// Each takes the body of one frame and never throws for bad input. `frame` must be followed by four
// readable zero bytes (FrameReader sees to it), since RapidJSON looks at what follows.
//
// Members that are not known are ignored. An INIT of another protocol version is decoded as it is. Only
// requests have a limit on values: what one server has taken, the others must take whatever their flags say.
std::variant<Request, Malformed> decode_request(std::string_view frame, DecodeLimits limits = {});
std::variant<Answer, Malformed> decode_answer(std::string_view frame);
std::variant<Peer, Malformed> decode_peer(std::string_view frame);

// Appends the JSON of the message, without the frame's length, to `out`. Throws std::invalid_argument for a key
// that is not valid UTF-8: who takes keys from elsewhere than a frame checks them with is_valid_utf8. (In all
// other strings but values, invalid bytes show as \xff.)
void encode(const Request& request, std::string& out);
void encode(const Answer& answer, std::string& out);
void encode(const Peer& peer, std::string& out);
void encode(const ReplicationView& replication, std::string& out);

// "PUT", "GET_OK", …: the `type` of a message, for logs.
std::string_view type_of(const Request& request);
std::string_view type_of(const Answer& answer);
std::string_view type_of(const Peer& peer);

}  // namespace kv::message

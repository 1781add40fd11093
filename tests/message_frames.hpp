// Frames for the tests of messages: JSON in memory of exactly its size and the four zero bytes behind it, so
// that the address sanitizer sees a decoder that reads further.
#pragma once

#include <catch2/catch.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/message.hpp"

namespace kv::message {

class Frame {
 public:
  explicit Frame(std::string_view json) : bytes_(json.begin(), json.end()) {
    size_ = bytes_.size();
    bytes_.resize(size_ + 4);
    bytes_.shrink_to_fit();
  }
  std::string_view body() const { return {bytes_.data(), size_}; }

 private:
  std::vector<char> bytes_;
  std::size_t size_;
};

template <class Message>
std::string json_of(const Message& message) {
  std::string out;
  encode(message, out);
  return out;
}

// What each of the three decoders says of a text.
inline std::variant<Request, Malformed> read_request(std::string_view json, DecodeLimits limits = {}) {
  return decode_request(Frame(json).body(), limits);
}
inline std::variant<Answer, Malformed> read_answer(std::string_view json) {
  return decode_answer(Frame(json).body());
}
inline std::variant<Peer, Malformed> read_peer(std::string_view json) {
  return decode_peer(Frame(json).body());
}

// Catch prints no variants, so the text of a fault is taken out by hand.
template <class Message>
Message good(std::variant<Message, Malformed> decoded) {
  if (const auto* malformed = std::get_if<Malformed>(&decoded)) FAIL(malformed->text);
  return std::get<Message>(std::move(decoded));
}

// `text` with every `what` replaced.
inline std::string replaced(std::string text, std::string_view what, std::string_view by) {
  for (std::size_t at = 0; (at = text.find(what, at)) != text.npos; at += by.size())
    text.replace(at, what.size(), by);
  return text;
}

}  // namespace kv::message

// JSON -> messages, for any described message: RapidJSON's SAX events go straight into the struct's members.
// Private to common/message_decode*.cpp.
//
// No tree is built, and no memory is taken but by the structs' own strings and lists. After a fault of meaning
// the decoder remembers the first one and goes on, to find the message's "id".
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "common/json.hpp"
#include "common/message.hpp"
#include "common/message_slots.hpp"

namespace kv::message {

// An object or array that is open.
struct Level {
  enum Kind : std::uint8_t {
    ignored,  // object or array, in which nothing is of interest
    object,   // that is being filled
    choice,   // object whose "type" has not come yet
    list,     // array whose elements are objects that are being filled
  };
  Kind kind;
  bool is_element;         // of a list
  std::string_view owner;  // the name of the object's type, or of the member that it is (an element of)
  union {
    Object filled;
    Choice chosen;
    Elements elements;
  };
  std::uint64_t seen;  // which members were there: Matcher's bits, type_bit, id_bit; of a list: how many elements
  std::size_t first_name;  // in names_: where the unknown members' begin
};

class Decoder : public rapidjson::BaseReaderHandler<rapidjson::UTF8<>, Decoder> {
 public:
  Decoder(std::string_view frame, std::size_t max_value);

  // The message's type; nullopt after a fault. It is nearly always the first member, and then this is cheap.
  std::optional<std::string_view> find_type();
  // Fills the message; `type` is its name.
  void fill(Object message, std::string_view type);
  // Reads all, but only in search of an "id".
  void find_id();

  void fault(Code code, std::string text);
  void fault(std::string text) { fault(Code::bad_request, std::move(text)); }
  bool failed() const { return malformed_.has_value(); }
  Malformed malformed() const { return {id_, malformed_->code, malformed_->text}; }
  const std::optional<std::uint64_t>& id() const { return id_; }

  // What RapidJSON calls. False ends the parsing.
  bool Default() { return false; }
  bool Null();
  bool Bool(bool yes);
  bool RawNumber(const char*, rapidjson::SizeType size, bool);
  bool String(const char*, rapidjson::SizeType, bool);
  bool Key(const char*, rapidjson::SizeType, bool);
  bool StartObject();
  bool EndObject(rapidjson::SizeType);
  bool StartArray();
  bool EndArray(rapidjson::SizeType);

 private:
  void parse();
  bool open();
  void close();
  void expect_next(const Level& level);
  void check_object(const Level& level);
  std::uint64_t find_slot(Level& level, std::string_view name);
  std::string_view last_string();

  void store_text(std::string_view text);
  void store_type(std::string_view text);
  void store_string(std::string& field, std::string_view text);
  void store_value(const Value& value, std::string_view text);
  void store_base64(const Value& value, std::string_view text);
  void store_number(std::uint64_t& field, std::optional<std::uint64_t> number);
  void wrong_type();
  void too_large(std::size_t size, std::size_t limit);

  Level& top() { return levels_[depth_ - 1]; }
  bool too_deep() const { return depth_ > max_json_depth; }

  std::string_view frame_;
  std::size_t max_value_;
  json::ViewStream* stream_ = nullptr;  // of the parse that is under way

  Object root_{};  // without a message: only "type" and "id" are of interest
  std::string_view root_type_;
  bool stop_at_type_ = false;

  std::size_t depth_ = 0;  // open objects and arrays; may be more than levels_
  // Not initialised before one is opened: there are 32.
  union {
    std::array<Level, max_json_depth> levels_;
  };
  Slot slot_;                         // for the next value
  std::vector<std::uint64_t> names_;  // hashes of the unknown members' names, of all open objects

  std::string type_;
  std::optional<std::uint64_t> id_;
  std::optional<Malformed> malformed_;
};

}  // namespace kv::message

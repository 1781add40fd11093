// Where a member's value goes: the decoder's two visitors of describe() (message_fields.hpp). Private to
// common/message_decode.cpp.
//
// A Slot is the place for one value in the struct that is being filled; Matcher finds it by the member's name.
// Objects and lists are held with their type forgotten (Object, List, Choice), so that the decoder itself is
// no template. Checker looks for missing members at an object's end.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "common/message.hpp"
#include "common/message_fields.hpp"

namespace kv::message {

class Matcher;
class Checker;

// What can be done with a described struct whose type was forgotten.
struct Description {
  void (*match)(void* message, Matcher& matcher);
  void (*check)(void* message, Checker& checker);
};

struct Object {
  void* message;
  const Description* description;
};

struct Elements {
  void* vector;
  Object (*append)(void* vector);  // another element, empty
  std::size_t most;
};

struct Choice {
  void* variant;
  const Description* description;
  // Makes it hold that type; returns its name, or nothing if there is no such type.
  std::string_view (*choose)(void* variant, std::string_view type);
};

// The bytes of a value. One of the two pointers is set.
struct Value {
  std::string* bytes;
  std::optional<std::string>* nullable;
};
struct Base64Value {
  Value value;
};

struct Constant {
  std::string_view text;  // empty: it is the number
  std::uint64_t number;
  std::string_view fault;
};
struct Refused {
  std::string_view text;
  std::string_view fault;
};

struct Ignored {};  // the value of an unknown member, and all in it
struct Whole {};    // the message itself: what comes first
struct Element {};  // of the list that is open
struct Id {};       // the message's own "id"
struct Type {};     // the message's own "type", or the one with which a Choice begins

struct Slot {
  std::string_view name;
  std::variant<Ignored, Whole, Element, Id, Type, std::uint64_t*, std::optional<std::uint64_t>*, std::string*,
               std::optional<std::string>*, bool*, Consistency*, Operation*, Code*, Value, Base64Value, Elements,
               Choice, Constant, Refused>
      target;
  Rule rule = Rule::none;

  template <class Target>
  void expect(Target new_target, std::string_view new_name = {}, Rule new_rule = Rule::none) {
    name = new_name;
    rule = new_rule;
    target.template emplace<Target>(new_target);
  }
};

template <class T>
Object object_of(T& message);

// Sets the slot to the place of the member with that name, if there is one. `bit()` numbers an object's members, in
// the order in which they are described.
class Matcher {
 public:
  Matcher(std::string_view name, Slot& slot) : name_(name), slot_(slot) {}

  bool found() const { return bit_ >= 0; }
  int bit() const { return bit_; }

  void required(std::string_view name, auto& field, Rule rule = Rule::none) {
    if (is(name)) slot_.expect(target(field, rule), name, rule);
  }
  void standard(std::string_view name, auto& field, Rule rule = Rule::none) { required(name, field, rule); }
  void optional(std::string_view name, auto& field, Rule rule = Rule::none) { required(name, field, rule); }
  void constant(std::string_view name, std::string_view text, std::string_view fault) {
    if (is(name)) slot_.expect(Constant{text, 0, fault}, name);
  }
  void constant(std::string_view name, std::uint64_t number, std::string_view fault) {
    if (is(name)) slot_.expect(Constant{{}, number, fault}, name);
  }
  void refused(std::string_view name, std::string_view text, std::string_view fault) {
    if (is(name)) slot_.expect(Refused{text, fault}, name);
  }
  void value(std::string& bytes) { match_value({&bytes, nullptr}); }
  void value(std::optional<std::string>& bytes) { match_value({nullptr, &bytes}); }
  void value_if_any(std::optional<std::string>& bytes) { value(bytes); }
  void demand(bool, std::string_view) {}

  template <class T>
  void group(std::optional<T>& members) {
    const bool found_before = found();
    const bool set_before = members.has_value();
    if (!set_before) members.emplace();
    describe(*this, *members);
    if (!set_before && (found_before || !found())) members.reset();
  }

 private:
  bool is(std::string_view name) {
    const int bit = next_bit_++;
    if (found() || name != name_) return false;
    bit_ = bit;
    return true;
  }
  void match_value(Value value) {
    if (is("value")) slot_.expect(value, "value");
    if (is("value_base64")) slot_.expect(Base64Value{value}, "value_base64");
  }

  template <class T>
  static T* target(T& field, Rule) {
    return &field;
  }
  template <class T>
  static Elements target(std::vector<T>& field, Rule rule) {
    return {&field, [](void* vector) { return object_of(static_cast<std::vector<T>*>(vector)->emplace_back()); },
            rule == Rule::operations ? max_txn_operations : std::numeric_limits<std::size_t>::max()};
  }
  template <class... T>
  static Choice target(std::variant<T...>& field, Rule) {
    using Variant = std::variant<T...>;
    return {&field, object_of(field).description, [](void* erased, std::string_view type) {
              Variant& variant = *static_cast<Variant*>(erased);
              return emplace_named(type, variant) ? type_name_of(variant) : std::string_view();
            }};
  }

  std::string_view name_;
  Slot& slot_;
  int bit_ = -1;
  int next_bit_ = 0;
};

// Says what is missing in an object of which the members in `seen`, a set of Matcher's bits, were there.
class Checker {
 public:
  // `owner` is the name of the object's type, or of the list of which it is an element.
  Checker(std::uint64_t seen, std::string_view owner, bool is_element)
      : seen_(seen), owner_(owner), is_element_(is_element) {}

  const std::string& fault() const { return fault_; }  // empty: none

  void required(std::string_view name, const auto&, Rule = Rule::none) {
    if (!next_is_seen()) missing(name);
  }
  void standard(std::string_view, const auto&, Rule = Rule::none) { next_is_seen(); }
  void optional(std::string_view, const auto&, Rule = Rule::none) { next_is_seen(); }
  void constant(std::string_view, const auto&, std::string_view fault) {
    if (!next_is_seen()) add(std::string(fault));
  }
  void refused(std::string_view, std::string_view, std::string_view) { next_is_seen(); }
  void value(const auto&) {
    if (!value_is_seen()) missing("value");
  }
  void value_if_any(const auto&) { value_is_seen(); }
  void demand(bool holds, std::string_view fault) {
    if (!holds) add(std::string(fault));
  }

  template <class T>
  void group(std::optional<T>& members) {
    T none;
    (members ? in_group_ : skipping_) = true;
    describe(*this, members ? *members : none);
    (members ? in_group_ : skipping_) = false;
  }

 private:
  bool value_is_seen() {
    const bool as_text = next_is_seen();
    const bool as_base64 = next_is_seen();
    if (as_text && as_base64) add(object() + " has both \"value\" and \"value_base64\"");
    return as_text || as_base64;
  }
  bool next_is_seen() { return (seen_ >> next_bit_++ & 1) != 0; }
  void missing(std::string_view name) {
    if (skipping_) return;
    const std::string_view why = in_group_ ? " has a part of a session's members, but lacks \"" : " needs \"";
    add(object().append(why).append(name) + '"');
  }
  std::string object() const {
    return is_element_ ? "an element of \"" + std::string(owner_) + '"' : std::string(owner_);
  }
  void add(std::string text) {
    if (fault_.empty()) fault_ = std::move(text);
  }

  std::uint64_t seen_;
  std::string_view owner_;
  bool is_element_;
  std::string fault_;
  int next_bit_ = 0;
  bool in_group_ = false;
  bool skipping_ = false;
};

template <class T>
inline constexpr Description description_of{
    [](void* message, Matcher& matcher) { describe(matcher, *static_cast<T*>(message)); },
    [](void* message, Checker& checker) { describe(checker, *static_cast<T*>(message)); },
};

template <class T>
Object object_of(T& message) {
  return {&message, &description_of<T>};
}

}  // namespace kv::message

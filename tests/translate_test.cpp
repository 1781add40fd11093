// Client writes <-> commands, and the core's messages <-> the wire: nothing is lost on the way there and back.
#include "server/translate.hpp"

#include <catch2/catch.hpp>

#include "common/overloaded.hpp"

using namespace kv;

namespace {

const std::string uuid = "7f0c1a52-0c4e-4a1e-8f5d-0c8b7f1a2b3c";

message::Peer decoded(std::string frame) {
  const std::size_t size = frame.size();
  frame.append(4, '\0');  // as FrameReader does
  auto decoded = message::decode_peer(std::string_view(frame).substr(0, size));
  if (const auto* malformed = std::get_if<message::Malformed>(&decoded)) FAIL(malformed->text);
  return std::get<message::Peer>(decoded);
}

message::Peer over_the_wire(const message::Peer& sent) {
  std::string frame;
  message::encode(sent, frame);
  return decoded(std::move(frame));
}

template <class T>
T there_and_back(const T& message) {
  std::string frame;
  std::visit([&frame](const auto& wire) { message::encode(wire, frame); }, to_wire(raft::Message(message)));
  const auto back = from_wire(decoded(std::move(frame)));
  REQUIRE(back.has_value());
  REQUIRE(std::holds_alternative<T>(*back));
  return std::get<T>(*back);
}

raft::Payload payload(const command::Command& command) {
  return raft::Payload(command::encode(command));
}

}  // namespace

TEST_CASE("A client's write becomes a command and again a write", "[translate]") {
  const message::WriteSession session{uuid, 7, 3};
  const auto write = GENERATE_COPY(
      ForwardedBody(message::Put{"colour", "blue", {}, {}}), ForwardedBody(message::Put{"colour", "", 0, session}),
      ForwardedBody(message::Put{"k", std::string("\0\xff", 2), 9, {}}),
      ForwardedBody(message::Delete{"colour", {}, {}}), ForwardedBody(message::Delete{"colour", 12, session}),
      ForwardedBody(message::Txn{{{"a", 7}},
                                 {{message::Operation::put, "a", "v"}, {message::Operation::erase, "b", {}}},
                                 {{message::Operation::get, "c", {}}},
                                 session}));
  const raft::Payload payload =
      std::visit(Overloaded{[](const message::ReadIndex&) -> raft::Payload { return nullptr; },
                            [](const auto& asked) { return to_payload(to_command(asked)); }},
                 write);
  CHECK(to_forward(*command::decode(*payload)) == write);
}

TEST_CASE("VOTE and VOTE_OK keep every member", "[translate]") {
  const auto vote = there_and_back(
      raft::VoteRequest{raft::Term(3), raft::NodeId("n2"), raft::Index(17), raft::Term(2), true, false});
  CHECK(vote.term == raft::Term(3));
  CHECK(vote.candidate == raft::NodeId("n2"));
  CHECK(vote.last_index == raft::Index(17));
  CHECK(vote.last_term == raft::Term(2));
  CHECK(vote.pre);
  CHECK_FALSE(vote.transfer);
  CHECK(there_and_back(raft::VoteRequest{raft::Term(3), raft::NodeId("n2"), {}, {}, false, true}).transfer);
  const auto reply = there_and_back(raft::VoteReply{raft::Term(4), true, false});
  CHECK(reply.term == raft::Term(4));
  CHECK(reply.granted);
  CHECK_FALSE(reply.pre);
}

TEST_CASE("REPLICATION keeps every member, and each command byte for byte", "[translate]") {
  const command::Session session{uuid, 7, 3};
  const std::vector<raft::Payload> commands{
      nullptr, payload(command::Put{"colour", "blue", {}, {}}),
      payload(command::Put{"k", std::string("\0\xff\n", 3), 9, session}),
      payload(command::Delete{"colour", 0, session}),
      payload(command::Members{"cluster", {{"n1", "i1", "p1", "c1"}, {"n2", "i2", "p2", "c2"}}})};
  raft::AppendRequest request{
      raft::Term(3), raft::NodeId("n2"), raft::Index(17), raft::Term(2), {}, raft::Index(9), 41};
  for (std::size_t i = 0; i < commands.size(); ++i) {
    request.entries.push_back({raft::Term(3), raft::Index(18 + i), commands[i]});
  }
  const auto back = there_and_back(request);
  CHECK(back.term == request.term);
  CHECK(back.leader == request.leader);
  CHECK(back.prev_index == request.prev_index);
  CHECK(back.prev_term == request.prev_term);
  CHECK(back.commit == request.commit);
  CHECK(back.round == request.round);
  REQUIRE(back.entries.size() == commands.size());
  for (std::size_t i = 0; i < commands.size(); ++i) {
    CHECK(back.entries[i].term == raft::Term(3));
    CHECK(back.entries[i].index == raft::Index(18 + i));
    REQUIRE((back.entries[i].command == nullptr) == (commands[i] == nullptr));
    if (commands[i]) CHECK(*back.entries[i].command == *commands[i]);
  }
}

TEST_CASE("REPLICATION_OK and TIMEOUT_NOW keep every member", "[translate]") {
  const auto reply = there_and_back(
      raft::AppendReply{raft::Term(3), false, raft::Index(4), 5, raft::Index(6), raft::Index(7), raft::Term(2)});
  CHECK(reply.term == raft::Term(3));
  CHECK_FALSE(reply.success);
  CHECK(reply.match == raft::Index(4));
  CHECK(reply.round == 5);
  CHECK(reply.rejected == raft::Index(6));
  CHECK(reply.hint_index == raft::Index(7));
  CHECK(reply.hint_term == raft::Term(2));
  const auto now = there_and_back(raft::TimeoutNow{raft::Term(3), raft::NodeId("n1")});
  CHECK(now.term == raft::Term(3));
  CHECK(now.leader == raft::NodeId("n1"));
}

TEST_CASE("FORWARD keeps its term, which says to whom it was meant", "[translate]") {
  const message::Peer forward =
      message::Forward{7, 3, 4000, message::Put{"colour", "blue", 4, message::WriteSession{uuid, 7, 3}}};
  CHECK(over_the_wire(forward) == forward);
  const message::Peer question = message::Forward{8, 3, 4000, message::ReadIndex{}};
  CHECK(over_the_wire(question) == question);
}

TEST_CASE("What is not the core's is not made a message of the core's", "[translate]") {
  CHECK_FALSE(from_wire(message::PeerInit{}).has_value());
  CHECK_FALSE(from_wire(message::Forward{}).has_value());
  CHECK_FALSE(from_wire(message::ForwardOk{}).has_value());
  CHECK_FALSE(from_wire(message::Error{}).has_value());
}

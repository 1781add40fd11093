// The core and snapshots: what the log forgets, how a follower is brought back that needs it (Raft §7, dissertation
// §5.1), and what a server may do that has lost its state. The core sees positions, never a snapshot.
#include "tests/raft_fixture.hpp"

using namespace kv::raft_test;

namespace {

SnapshotMark mark(std::uint64_t index, std::uint64_t term) {
  return {{Index(index), Term(term)}, text("members"), false};
}

// n1 of three, with a log of these terms all of which are committed and applied.
Raft restored(const Terms& terms, std::uint64_t term, Position base = {}) {
  Restored state;
  state.hard_state = {Term(term), NodeId{}};
  state.base = base;
  state.entries = entries(terms, base.index.value + 1);
  state.commit = base.index + terms.size();
  Raft raft(config(), std::move(state));
  raft.take_output();
  return raft;
}

// Its disk does all at once; returns what has left and what it was asked to write.
struct Step {
  std::vector<Envelope> sent;
  std::vector<Write> writes;
  std::vector<Entry> applied;
};
Step settle(Raft& raft) {
  Step step;
  for (;;) {
    Output output = raft.take_output();
    for (auto& envelope : output.send) step.sent.push_back(std::move(envelope));
    for (auto& entry : output.committed) step.applied.push_back(std::move(entry));
    if (!output.write) return step;
    step.writes.push_back(*output.write);
    raft.written(output.write->id);
    for (auto& envelope : output.send_after) step.sent.push_back(std::move(envelope));
  }
}

template <class M>
std::vector<M> of(const Step& step, int to) {
  std::vector<M> out;
  for (const Envelope& envelope : step.sent) {
    const M* message = std::get_if<M>(&envelope.message);
    if (envelope.peer == id(to) && message) out.push_back(*message);
  }
  return out;
}

// n1 leads term 2 with `count` entries committed, n2 having them all and n3 none.
Raft leader_of(std::uint64_t count) {
  Raft raft = restored(Terms(count - 1, 1), 1);
  while (raft.role() != Role::pre_candidate) raft.tick();
  settle(raft);
  raft.receive(id(2), VoteReply{Term(2), true, true});
  settle(raft);
  raft.receive(id(2), VoteReply{Term(2), true, false});
  settle(raft);
  REQUIRE(raft.leads());
  raft.receive(id(2), matched(2, count));
  settle(raft);
  REQUIRE(raft.commit() == Index(count));
  return raft;
}

}  // namespace

TEST_CASE("log: what is forgotten is known by its last position and term", "[raft][snapshot]") {
  Log log({}, entries({1, 1, 2, 2, 3}));
  const std::size_t before = log.bytes();
  log.compact(Index(3));
  CHECK(log.base_index() == Index(3));
  CHECK(log.term_at(Index(3)) == Term(2));
  CHECK_FALSE(log.term_at(Index(2)).has_value());
  CHECK(terms_of(log) == Terms{2, 3});
  CHECK(log.bytes() < before);
  log.compact(Index(2));  // long gone
  CHECK(log.base_index() == Index(3));
  log.compact(Index(5));
  CHECK(log.last_term() == Term(3));
  CHECK(log.bytes() == 0);
  log.reset({Index(9), Term(7)});
  CHECK(log.last_index() == Index(9));
  CHECK(log.matches({Index(9), Term(7)}));
}

TEST_CASE("A snapshot of the own state goes to the disk as a mark, and the log forgets no more than it is told",
          "[raft][snapshot]") {
  Raft raft = restored({1, 1, 1, 1}, 1);
  raft.snapshot_saved(mark(4, 1), Index(2), Index(3));
  CHECK(raft.log().base_index() == Index(3));
  const Step step = settle(raft);
  REQUIRE(step.writes.size() == 1);
  REQUIRE(step.writes[0].snapshot.has_value());
  CHECK(step.writes[0].snapshot->position == Position{Index(4), Term(1)});
  CHECK_FALSE(step.writes[0].snapshot->resets_log);
  CHECK(step.writes[0].droppable == Index(2));
  CHECK(settle(raft).writes.empty());  // once
}

TEST_CASE(
    "What the disk has not been given yet stays in the log, though a snapshot holds it; the mark waits for it",
    "[raft][snapshot]") {
  Raft raft = restored({1}, 1);
  raft.receive(id(2), append(1, 2, 1, 1, {1}, 1));
  Output first = raft.take_output();  // entry 2 is on its way to the disk
  REQUIRE(first.write.has_value());
  raft.receive(id(2), append(1, 2, 2, 1, {1}, 3));
  const Output second = raft.take_output();
  CHECK_FALSE(second.write.has_value());
  REQUIRE(raft.commit() == Index(3));  // the others have it
  raft.snapshot_saved(mark(3, 1), Index(2), Index(3));
  CHECK(raft.log().base_index() == Index(2));
  raft.written(first.write->id);
  Output third = raft.take_output();
  REQUIRE(third.write.has_value());
  CHECK(third.write->entries.size() == 1);
  CHECK_FALSE(third.write->snapshot.has_value());
  // Nor may the disk forget what no mark on it accounts for.
  CHECK(third.write->droppable == Index());
  raft.written(third.write->id);
  const Output fourth = raft.take_output();
  REQUIRE(fourth.write.has_value());
  CHECK(fourth.write->snapshot.has_value());
  CHECK(fourth.write->droppable == Index(2));
}

TEST_CASE("While a newer mark waits, the disk may forget what the one before it accounts for", "[raft][snapshot]") {
  Raft raft = restored({1, 1, 1}, 1);
  raft.snapshot_saved(mark(2, 1), Index(1), Index(2));
  settle(raft);
  raft.receive(id(2), append(1, 2, 3, 1, {1, 1}, 5));  // committed, and on its way to the disk
  Output first = raft.take_output();
  REQUIRE(first.write.has_value());
  CHECK(first.write->droppable == Index(1));
  raft.snapshot_saved(mark(5, 1), Index(4), Index(5));
  raft.receive(id(2), append(1, 2, 5, 1, {1}, 5));
  raft.written(first.write->id);
  const Output second = raft.take_output();
  REQUIRE(second.write.has_value());
  REQUIRE(second.write->snapshot.has_value());
  CHECK(second.write->droppable == Index(4));
}

TEST_CASE("A follower that needs forgotten entries gets heartbeats at the log's beginning until it has come there",
          "[raft][snapshot]") {
  Raft raft = leader_of(9);
  raft.snapshot_saved(mark(9, 2), Index(), Index(6));
  settle(raft);
  // n3 says that its log ends at 2.
  raft.receive(id(3), AppendReply{Term(2), false, {}, 0, Index(8), Index(2), Term(1)});
  const Step step = settle(raft);
  CHECK(raft.progress_of(id(3))->mode == Progress::Mode::snapshot);
  CHECK(raft.progress_of(id(3))->needs_snapshot());
  for (const auto& request : of<AppendRequest>(step, 3)) CHECK(request.entries.empty());
  for (int i = 0; i < 3; ++i) raft.tick();
  const auto heartbeats = of<AppendRequest>(settle(raft), 3);
  REQUIRE_FALSE(heartbeats.empty());
  CHECK(heartbeats.back().prev_index == Index(6));
  raft.receive(id(3), AppendReply{Term(2), false, {}, 0, Index(6), Index(2), Term(1)});  // not there yet
  CHECK(raft.progress_of(id(3))->mode == Progress::Mode::snapshot);
  raft.receive(id(3), matched(2, 9));  // it has taken the snapshot over
  settle(raft);
  CHECK(raft.progress_of(id(3))->mode == Progress::Mode::replicate);
  CHECK_FALSE(raft.progress_of(id(3))->needs_snapshot());
  raft.propose({text("x")});
  CHECK(of<AppendRequest>(settle(raft), 3).back().prev_index == Index(9));
}

TEST_CASE("A follower of which nothing is known yet is asked at the log's end first, not sent a snapshot",
          "[raft][snapshot]") {
  Raft raft = leader_of(9);
  raft.snapshot_saved(mark(9, 2), Index(), Index(9));
  settle(raft);
  raft.link_changed(id(3));
  const auto requests = of<AppendRequest>(settle(raft), 3);
  REQUIRE(requests.size() == 1);
  CHECK(requests[0].prev_index == Index(9));
  CHECK(raft.progress_of(id(3))->mode == Progress::Mode::probe);
}

TEST_CASE("A snapshot where the log has something else, or ends before, takes its place", "[raft][snapshot]") {
  const auto [terms, position] = GENERATE(std::pair<Terms, Position>{{1, 1, 2}, {Index(3), Term(3)}},
                                          std::pair<Terms, Position>{{1, 1, 2}, {Index(7), Term(3)}});
  Restored state;
  state.hard_state = {Term(3), NodeId{}};
  state.entries = entries(terms);
  state.commit = Index(1);
  Raft raft(config(), std::move(state));
  settle(raft);
  REQUIRE(raft.hear_leader(id(2), Term(3)));
  CHECK(raft.install(position, text("members")));
  CHECK(raft.log().base_index() == position.index);
  CHECK(raft.log().last_index() == position.index);
  CHECK(raft.commit() == position.index);
  CHECK(raft.durable() == Index());  // nothing of the new log is yet
  Output output = raft.take_output();
  CHECK(output.committed.empty());  // the state has it all
  REQUIRE(output.write.has_value());
  REQUIRE(output.write->snapshot.has_value());
  CHECK(output.write->snapshot->resets_log);
  for (const Envelope& envelope : output.send) CHECK_FALSE(std::holds_alternative<AppendReply>(envelope.message));
  REQUIRE(output.send_after.size() == 1);  // acknowledged when the disk knows of it
  CHECK(std::get<AppendReply>(output.send_after[0].message).match == position.index);
  raft.written(output.write->id);
  CHECK(raft.durable() == position.index);
}

TEST_CASE("A snapshot that fits the log leaves what is behind it", "[raft][snapshot]") {
  Restored state;
  state.hard_state = {Term(2), NodeId{}};
  state.entries = entries({1, 1, 2, 2});
  state.commit = Index(1);
  Raft raft(config(), std::move(state));
  settle(raft);
  REQUIRE(raft.hear_leader(id(2), Term(2)));
  CHECK(raft.install({Index(3), Term(2)}, text("members")));
  CHECK(raft.log().last_index() == Index(4));
  CHECK(raft.durable() == Index(4));
  CHECK(raft.commit() == Index(3));
  const Step step = settle(raft);
  CHECK(step.applied.empty());
  REQUIRE(step.writes.size() == 1);
  CHECK_FALSE(step.writes[0].snapshot->resets_log);
  CHECK(of<AppendReply>(step, 2).back().match == Index(3));
}

TEST_CASE("A write that was under way when a snapshot replaced the log makes nothing of the new one durable",
          "[raft][snapshot]") {
  Raft raft = restored({1}, 1);
  raft.receive(id(2), append(1, 2, 1, 1, {1, 1}, 1));
  Output under_way = raft.take_output();
  REQUIRE(under_way.write.has_value());
  CHECK(raft.install({Index(8), Term(1)}, text("members")));
  raft.written(under_way.write->id);
  CHECK(raft.durable() == Index());
  settle(raft);
  CHECK(raft.durable() == Index(8));
}

TEST_CASE("A snapshot of what the server has committed changes nothing, and is acknowledged", "[raft][snapshot]") {
  Raft raft = restored({1, 1, 1, 1}, 1);
  REQUIRE(raft.hear_leader(id(2), Term(1)));
  CHECK_FALSE(raft.install({Index(3), Term(1)}, text("members")));
  CHECK(raft.log().base_index() == Index());
  const Step step = settle(raft);
  CHECK(step.writes.empty());
  CHECK(of<AppendReply>(step, 2).back().match == Index(3));
}

TEST_CASE("Part of a snapshot is heard as REPLICATION is: an old leader's is not, and is told the term",
          "[raft][snapshot]") {
  Raft raft = restored({1}, 3);
  CHECK_FALSE(raft.hear_leader(id(2), Term(2)));
  CHECK(of<AppendReply>(settle(raft), 2).back().term == Term(3));
  CHECK(raft.hear_leader(id(2), Term(4)));
  CHECK(raft.term() == Term(4));
  CHECK(raft.leader() == id(2));
  CHECK_FALSE(raft.hear_leader(NodeId("stranger"), Term(9)));
}

// ---- A server that has lost its state

namespace {

Raft without_state() {
  Restored state;
  state.hard_state = {Term(2), NodeId{}};
  state.base = {Index(5), Term(2)};
  state.entries = entries({2, 2}, 6);
  state.commit = Index(7);
  state.lacks_state = true;
  return Raft(config(), std::move(state));
}

}  // namespace

TEST_CASE("A server without its state applies nothing, does not stand, and says what it wants",
          "[raft][snapshot]") {
  Raft raft = without_state();
  for (int i = 0; i < 100; ++i) raft.tick();
  CHECK(settle(raft).applied.empty());
  CHECK(raft.role() == Role::follower);
  raft.receive(id(2), append(2, 2, 7, 2, {2}, 8));
  raft.receive(id(2), TimeoutNow{Term(2), id(2)});
  const Step step = settle(raft);
  CHECK(raft.role() == Role::follower);
  CHECK(step.applied.empty());
  const auto replies = of<AppendReply>(step, 2);
  REQUIRE_FALSE(replies.empty());
  CHECK(replies.back().success);  // its log counts as every other's
  CHECK(replies.back().match == Index(8));
  CHECK(replies.back().wants_snapshot == Index(5));
}

TEST_CASE("A server without its state votes by its log", "[raft][snapshot]") {
  Raft raft = without_state();
  raft.receive(id(2), vote_request(3, 2, 6, 2));
  CHECK_FALSE(of<VoteReply>(settle(raft), 2).back().granted);
  raft.receive(id(3), vote_request(4, 3, 7, 2));
  CHECK(of<VoteReply>(settle(raft), 3).back().granted);
}

TEST_CASE("A snapshot brings the state back, unless it ends before the log begins", "[raft][snapshot]") {
  Raft raft = without_state();
  REQUIRE(raft.hear_leader(id(2), Term(2)));
  CHECK_FALSE(raft.install({Index(4), Term(1)}, text("members")));
  CHECK(raft.lacks_state());
  CHECK(raft.install({Index(6), Term(2)}, text("members")));
  CHECK_FALSE(raft.lacks_state());
  const Step step = settle(raft);
  REQUIRE(step.applied.size() == 1);
  CHECK(step.applied[0].index == Index(7));
  CHECK(of<AppendReply>(step, 2).back().wants_snapshot == Index());
}

TEST_CASE("A leader goes on sending entries to a follower that wants a snapshot", "[raft][snapshot]") {
  Raft raft = leader_of(5);
  AppendReply reply = matched(2, 5);
  reply.wants_snapshot = Index(4);
  raft.receive(id(3), reply);
  settle(raft);
  CHECK(raft.progress_of(id(3))->needs_snapshot());
  CHECK(raft.progress_of(id(3))->mode == Progress::Mode::replicate);
  raft.propose({text("x")});
  CHECK(of<AppendRequest>(settle(raft), 3).back().entries.size() == 1);
  raft.receive(id(3), matched(2, 6));
  CHECK_FALSE(raft.progress_of(id(3))->needs_snapshot());
}

TEST_CASE("A full disk is told with every answer to the leader", "[raft][snapshot]") {
  Raft raft = restored({1}, 1);
  raft.set_full(true);
  raft.receive(id(2), append(1, 2, 1, 1));
  CHECK(of<AppendReply>(settle(raft), 2).back().full);
  raft.set_full(false);
  raft.receive(id(2), append(1, 2, 1, 1));
  CHECK_FALSE(of<AppendReply>(settle(raft), 2).back().full);
  Raft leader = leader_of(5);
  AppendReply reply = matched(2, 5);
  reply.full = true;
  leader.receive(id(3), reply);
  CHECK(leader.progress_of(id(3))->full);
}

// The network between the servers: links that are dialled and break, messages that are late, lost, doubled or
// overtaken, and directions that are cut.
//
// A link is a connection, as server/peers.cpp keeps it: who dials asks there and gets the answers there; both ends
// have checked with INIT who the other is. FORWARD and FORWARD_OK behave as on TCP: in order, at most once, lost
// with their link. Raft's messages need a link to leave, and then behave as on the worst of networks.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "tests/sim/judge.hpp"
#include "tests/sim/node.hpp"
#include "tests/sim/world.hpp"

namespace kv::sim {

class Network {
 public:
  using Pair = std::pair<NodeIndex, NodeIndex>;

  Network(World& world, Judge& judge, std::vector<std::unique_ptr<Node>>& nodes);

  void send(NodeIndex from, PeerMessage message);
  void node_started(NodeIndex node);
  void node_ended(NodeIndex node, End end);

  // ---- What happens to it

  // Nothing arrives in this direction, until it is healed. Links that it stays cut for break after a while.
  void cut(NodeIndex from, NodeIndex to);
  void heal(NodeIndex from, NodeIndex to);
  bool is_cut(NodeIndex from, NodeIndex to) const { return cut_.contains({from, to}); }
  // The links between the two break, in both directions.
  void reset(NodeIndex a, NodeIndex b);
  // From now on nothing between these two is lost, doubled or overtaken.
  void make_reliable(NodeIndex a, NodeIndex b);

 private:
  // One direction of a link, for what must arrive in order.
  struct Stream {
    std::deque<PeerMessage> on_its_way;
    Time last_arrival = 0;
  };
  struct Link {
    std::uint64_t number = 0;    // of all attempts, one after the other
    std::uint64_t listener = 0;  // the process there
    Stream asked;
    Stream answered;
  };

  Node& node(NodeIndex index) { return *nodes_[index]; }
  Time delay();
  Time delay(NodeIndex from, NodeIndex to);
  // An attempt to open a link: its number, and the processes at both ends.
  struct Attempt {
    NodeIndex from = 0;
    NodeIndex to = 0;
    std::uint64_t number = 0;
    std::uint64_t dialler = 0;
    std::uint64_t listener = 0;
  };
  void start_dialling(NodeIndex from, NodeIndex to);
  bool is_current(const Attempt& attempt);
  void dial_again(const Attempt& attempt);
  void dial(Attempt attempt);
  void greet(Attempt attempt, const message::PeerInit& introduction);
  void welcome(const Attempt& attempt, const message::PeerInitOk& ok);
  bool is_taken(NodeIndex at, NodeIndex from, const message::PeerInit& init);
  // The end at the dialler notices, after `notice`.
  void break_link(NodeIndex from, NodeIndex to, Time notice);
  void forget_inbound(NodeIndex at, NodeIndex from, Time notice);
  Link* link_for(NodeIndex from, NodeIndex to, bool answer);
  void tell_sent(NodeIndex from, const PeerMessage& message, const char* fate) const;
  void send_in_order(NodeIndex from, NodeIndex to, bool answer, PeerMessage message);
  void arrive_in_order(NodeIndex from, NodeIndex to, bool answer, std::uint64_t number);
  void send_raft(NodeIndex from, NodeIndex to, PeerMessage message);
  void arrive(NodeIndex from, NodeIndex to, const std::string& from_identity, const std::string& to_identity,
              const PeerMessage& message);

  World& world_;
  Judge& judge_;
  std::vector<std::unique_ptr<Node>>& nodes_;
  std::map<Pair, Link> links_;             // by (dialler, listener)
  std::map<Pair, std::uint64_t> inbound_;  // by (listener, dialler): the number of the link it answers on
  std::map<Pair, std::string> inbound_identity_;
  std::map<Pair, std::uint64_t> cut_;  // each cut has a number
  std::set<Pair> reliable_;
  std::map<Pair, Time> last_arrival_;       // of Raft's messages, where they must not overtake each other
  std::map<Pair, Time> latest_;             // of what was sent, to see what is overtaken
  std::map<Pair, std::uint64_t> dialling_;  // the number of the attempt under way
  std::uint64_t next_link_ = 1;
  std::uint64_t next_cut_ = 1;
};

}  // namespace kv::sim

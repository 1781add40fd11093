// Clients that watch: keys and prefixes, from now, from the past or from a position still to come, on one server
// after the other. Whatever happens to their connections and watches, each gets every change once and in order, or
// is told that it cannot.
//
// A watch that has ended is asked for again from the last position that was complete. Where that is COMPACTED or
// OVERLOADED the client tries another server or lists what there is and watches from there, as docs/protocol.md
// says.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/connections.hpp"
#include "tests/sim/feed.hpp"
#include "tests/sim/judge.hpp"
#include "tests/sim/node.hpp"
#include "tests/sim/world.hpp"

namespace kv::sim {

class Followers {
 public:
  Followers(World& world, const Judge& judge, std::vector<std::unique_ptr<Node>>& nodes, Connections& connections);

  void start();
  // From now on they only watch, at these servers.
  void calm(const std::vector<NodeIndex>& nodes);
  // Whether each watch has all that is committed. Only when they are calm: one for which there is no room on any of
  // the servers has given up by then.
  bool have_all();
  // One that has not, for a person.
  std::string who_waits();

 private:
  // What is under way of a watch.
  enum class State { idle, asked, live, cancelling, listing };
  struct Watch {
    message::Watch what;
    std::optional<Feed> feed;  // from the first WATCH_OK on
    State state = State::idle;
    std::uint64_t id = 0;       // of the WATCH
    std::uint64_t request = 0;  // of a CANCEL or LIST under way
    bool given_up = false;
  };
  struct Follower {
    std::string name;
    std::vector<NodeIndex> servers;
    std::vector<Watch> watches;
    std::optional<ClientId> connection;
    bool connecting = false;
    bool takes_nothing = false;
  };

  Watch draw_watch();
  void connect(std::size_t follower);
  void lose(std::size_t follower);
  void go_elsewhere(Follower& follower);
  void look_after(std::size_t follower);
  void act(std::size_t follower);
  void disturb(Follower& follower);
  void take_nothing(Follower& follower);
  void send(Follower& follower, std::uint64_t id, decltype(message::Request::body) body);
  void ask(Follower& follower, Watch& watch);
  void cancel(Follower& follower, Watch& watch);
  void list(Follower& follower, Watch& watch);

  void arrive(std::size_t follower, const message::Answer& answer);
  void on(Follower& follower, Watch& watch, const message::WatchOk& ok);
  void on(Follower& follower, Watch& watch, const message::SharedEvent& event);
  void on(Follower& follower, Watch& watch, const message::CancelOk& ok);
  void on(Follower& follower, Watch& watch, const message::ListOk& ok);
  void on(Follower& follower, Watch& watch, const message::Error& error);
  void on(Follower&, Watch&, const auto&) {}
  void lost_history(Follower& follower, Watch& watch);
  bool has_all(Watch& watch);

  World& world_;
  const Judge& judge_;
  std::vector<std::unique_ptr<Node>>& nodes_;
  Connections& connections_;
  std::deque<Follower> followers_;
  bool calm_ = false;
};

}  // namespace kv::sim

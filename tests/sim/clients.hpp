// The clients: each asks a random server, remembers timestamps, retries what may be retried, and writes down what
// it saw for the checkers.
//
// A client has one connection at a time. Its writes
// either belong to a write session, and are then sent again until their outcome is known, or not, and then an
// unknown outcome stays one; each such attempt has a value of its own.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "tests/sim/connections.hpp"
#include "tests/sim/judge.hpp"
#include "tests/sim/node.hpp"
#include "tests/sim/requests.hpp"
#include "tests/sim/transcript.hpp"
#include "tests/sim/world.hpp"

namespace kv::sim {

class Clients {
 public:
  Clients(World& world, const Judge& judge, std::vector<std::unique_ptr<Node>>& nodes, Connections& connections);

  void start();
  // No new operations; what is open goes on to its end.
  void stop() { stopped_ = true; }
  bool is_idle() const;

  // The n-th client's connection breaks, if it has one.
  void reset(std::size_t client);
  std::size_t count() const { return clients_.size(); }

  // A client more, that asks only this server and asks again until it has put a key: then `done` is called.
  void put_until_done(NodeIndex node, std::function<void()> done);
  // Reads every key linearizably, at any of these servers.
  void read_all(const std::vector<NodeIndex>& nodes);

  const Transcript& transcript() const { return transcript_; }

 private:
  struct Operation {
    std::size_t client = 0;
    message::Request request;
    Time give_up = 0;
    std::uint64_t attempts = 0;
    bool may_be_done = false;  // an attempt's outcome is not known
    bool until_done = false;
    bool ended = false;
    std::function<void()> done;
  };
  struct Connection {
    ClientId id = 0;
    bool ready = false;                          // INIT_OK has come
    std::map<std::uint64_t, std::size_t> asked;  // request id -> operation
  };
  struct Client {
    std::size_t index = 0;
    std::string name;
    std::vector<NodeIndex> servers;  // that it may ask
    Memory memory;
    std::uint64_t sessions = 0;  // that its writes had
    std::optional<Connection> connection;
    bool connecting = false;
    bool thinking = false;             // about what to ask next
    std::vector<std::size_t> waiting;  // operations that have no connection
    std::size_t open = 0;
    std::size_t pipeline = 1;
  };

  Client& add_client(std::vector<NodeIndex> servers);
  void connect(std::size_t client);
  void say_init(std::size_t client);
  void lose(std::size_t client);
  void think(std::size_t client);
  void begin(std::size_t client);
  std::size_t open(Client& client, message::Request request);
  void attempt(std::size_t operation);
  void name(std::size_t operation);
  void arrive(std::size_t client, const message::Answer& answer);
  void note_wait(const Client& client, const message::Answer& answer);
  void begin_session(std::size_t index, std::uint64_t applied);
  void settle(std::size_t operation, const message::Answer& answer);
  void settle_error(std::size_t operation, const message::Error& error);
  void unknown(std::size_t operation);
  void retry(std::size_t operation);
  void end(std::size_t operation, history::Outcome outcome);
  void look_after(std::size_t operation, std::uint64_t attempt);

  World& world_;
  std::vector<std::unique_ptr<Node>>& nodes_;
  Connections& connections_;
  Requests requests_;
  std::deque<Client> clients_;        // deques: both are referred to while others are added
  std::deque<Operation> operations_;  // as in the transcript
  Transcript transcript_;
  bool stopped_ = false;
};

}  // namespace kv::sim

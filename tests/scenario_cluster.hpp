// The servers of a scenario, each the bare core and a simulated disk, and the messages between them. Nothing moves
// by itself: time, deliveries, faults and slow writes are calls, and each call notes what came of it, a line each.
#pragma once

#include <algorithm>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "tests/raft_fixture.hpp"
#include "tests/scenario_file.hpp"
#include "tests/scenario_text.hpp"

namespace kv::scenario {

using namespace kv::raft;

// Which links are meant. Empty: any server.
struct Link {
  NodeId from;
  NodeId to;
  bool covers(const NodeId& a, const NodeId& b) const {
    return (from.empty() || from == a) && (to.empty() || to == b);
  }
};

class Cluster {
 public:
  struct Flying {
    NodeId from;
    NodeId to;
    Message message;
  };
  struct Pending {
    Write write;
    std::vector<Envelope> send_after;
  };
  struct Server {
    Config config;
    raft_test::Disk disk;
    std::unique_ptr<Raft> raft;      // null: it is down
    std::optional<Pending> writing;  // under way
    bool slow_disk = false;          // a write ends only when the script says so
  };

  // Starts them all, with empty disks. `settings` holds what they have in common.
  Cluster(const std::vector<NodeId>& names, const Config& settings) {
    for (const NodeId& name : names) {
      Server server;
      server.config = settings;
      server.config.self = name;
      server.config.voters = names;
      server.config.seed = settings.seed + servers_.size() + 1;  // so that no two timers run alike
      servers_.push_back(std::move(server));
    }
    for (const NodeId& name : names) start(name);
  }

  // What was noted since the last call.
  Lines take_notes() { return std::exchange(notes_, {}); }
  void note(std::string line) { notes_.push_back("  " + std::move(line)); }

  const std::vector<Server>& servers() const { return servers_; }
  bool contains(const NodeId& name) const {
    return std::any_of(servers_.begin(), servers_.end(), [&](const Server& s) { return s.config.self == name; });
  }
  // One that is up.
  Server& running(const NodeId& name) {
    Server& server = find(name);
    if (!server.raft) throw ScriptError(name.name + " is down");
    return server;
  }

  // ---- Inputs of the core, each followed by all that it asks for

  template <class Input>
  auto input(const NodeId& name, Input&& give) {
    const auto result = give(*running(name).raft);
    flush(name);
    return result;
  }
  void tick(const NodeId& name) {
    running(name).raft->tick();
    flush(name);
  }
  // Lets time pass for this server until it asks for votes (or leads, where its own vote is enough).
  // False: it does not, for longer than any election timeout.
  bool campaign(const NodeId& name) {
    if (running(name).raft->leads()) throw ScriptError(name.name + " leads already");
    for (std::uint32_t ticks = 0; ticks < 2 * find(name).config.election_ticks; ++ticks) {
      asked_ = false;
      tick(name);
      if (asked_ || find(name).raft->leads()) return true;
    }
    return false;
  }

  // ---- The disk

  void set_slow_disk(const NodeId& name, bool slow) {
    running(name).slow_disk = slow;
    flush(name);
  }
  void end_write(const NodeId& name) {
    Server& server = running(name);
    if (!server.writing) throw ScriptError(name.name + " is not writing");
    finish_write(server);
    flush(name);
  }
  // The write under way and the messages to it are lost.
  void crash(const NodeId& name) {
    Server& server = running(name);
    if (server.writing) note(name.name + " loses its write of " + text_of(server.writing->write));
    server.raft.reset();
    server.writing.reset();
    server.slow_disk = false;
    drop({{}, name});
  }
  void start(const NodeId& name) {
    Server& server = find(name);
    if (server.raft) throw ScriptError(name.name + " is up already");
    const raft_test::Disk& disk = server.disk;
    server.raft = std::make_unique<Raft>(server.config, Restored{disk.hard_state, {}, disk.entries, disk.commit});
    flush(name);
  }
  // It starts anew from a disk with this content.
  void start_from(const NodeId& name, raft_test::Disk disk) {
    if (find(name).raft) crash(name);
    find(name).disk = std::move(disk);
    start(name);
  }

  // ---- The network

  // Those that are on their way now, oldest first; at most `count`. Returns how many there were.
  std::size_t deliver(const Link& link, std::size_t count) {
    std::deque<Flying> arriving = take_flying(link, count);
    for (const Flying& flying : arriving) arrive(flying);
    return arriving.size();
  }
  // Until nothing is on its way between servers that `takes_part` admits.
  void stabilize(const std::function<bool(const NodeId&)>& takes_part) {
    const auto admits = [&](const Flying& f) { return takes_part(f.from) && takes_part(f.to); };
    for (std::size_t steps = 0; steps < 10'000; ++steps) {
      const auto next = std::find_if(flying_.begin(), flying_.end(), admits);
      if (next == flying_.end()) return;
      const Flying flying = std::move(*next);
      flying_.erase(next);
      arrive(flying);
    }
    throw ScriptError("the servers do not stop talking");
  }
  std::size_t drop(const Link& link, std::size_t count = SIZE_MAX) {
    const std::deque<Flying> lost = take_flying(link, count);
    for (const Flying& flying : lost) notes_.push_back(line_of(flying) + " (lost)");
    return lost.size();
  }
  // Messages on this link are lost, those on their way included.
  void cut(const Link& link) {
    cut_.push_back(link);
    drop(link);
  }
  void heal() { cut_.clear(); }

 private:
  Server& find(const NodeId& name) {
    for (Server& server : servers_) {
      if (server.config.self == name) return server;
    }
    throw ScriptError("no server '" + name.name + "' in this cluster");
  }

  static std::string line_of(const Flying& flying) {
    return flying.from.name + "->" + flying.to.name + " " + text_of(flying.message);
  }

  std::deque<Flying> take_flying(const Link& link, std::size_t count) {
    std::deque<Flying> taken, rest;
    for (Flying& flying : flying_) {
      const bool wanted = taken.size() < count && link.covers(flying.from, flying.to);
      (wanted ? taken : rest).push_back(std::move(flying));
    }
    flying_ = std::move(rest);
    return taken;
  }

  void arrive(const Flying& flying) {
    notes_.push_back(line_of(flying));
    running(flying.to).raft->receive(flying.from, flying.message);
    flush(flying.to);
  }

  // Carries out what the core asks for, and again what follows from a write that has ended.
  void flush(const NodeId& name) {
    Server& server = find(name);
    for (int writes = 0; writes < 1'000; ++writes) {
      absorb(server, server.raft->take_output());
      if (!server.writing || server.slow_disk) return;
      finish_write(server);
    }
    throw ScriptError(name.name + " does not stop writing");
  }

  void absorb(Server& server, Output output) {
    const std::string& name = server.config.self.name;
    if (output.changed) note(name + " becomes " + text_of(*output.changed));
    for (Envelope& envelope : output.send) send(server, std::move(envelope));
    begin_write(server, output);
    if (!output.committed.empty()) note(name + " applies " + text_of(output.committed));
    for (const Output::SafeRead& read : output.reads) {
      note(name + " serves read " + std::to_string(read.id) + " at " + std::to_string(read.index.value));
    }
    for (const std::uint64_t id : output.dropped_reads) note(name + " drops read " + std::to_string(id));
  }

  void begin_write(Server& server, Output& output) {
    if (!output.write) {
      if (!output.send_after.empty()) throw ScriptError("the core holds messages back without a write");
      return;
    }
    if (server.writing) throw ScriptError("the core begins a write while one is under way");
    const std::string& name = server.config.self.name;
    note(name + (server.slow_disk ? " begins to write " : " writes ") + text_of(*output.write));
    server.writing = Pending{std::move(*output.write), std::move(output.send_after)};
    for (const Envelope& envelope : server.writing->send_after) {
      asked_ = asked_ || std::holds_alternative<VoteRequest>(envelope.message);
      if (server.slow_disk) {
        note(line_of({server.config.self, envelope.peer, envelope.message}) + " (waits for the disk)");
      }
    }
  }

  void finish_write(Server& server) {
    Pending done = *std::exchange(server.writing, std::nullopt);
    server.disk.store(done.write);
    for (Envelope& envelope : done.send_after) send(server, std::move(envelope));
    server.raft->written(done.write.id);
  }

  void send(const Server& server, Envelope envelope) {
    asked_ = asked_ || std::holds_alternative<VoteRequest>(envelope.message);
    Flying flying{server.config.self, std::move(envelope.peer), std::move(envelope.message)};
    const bool lost = !find(flying.to).raft || std::any_of(cut_.begin(), cut_.end(), [&](const Link& link) {
      return link.covers(flying.from, flying.to);
    });
    note(line_of(flying) + (lost ? " (lost)" : ""));
    if (!lost) flying_.push_back(std::move(flying));
  }

  std::vector<Server> servers_;
  std::deque<Flying> flying_;  // in the order in which they left
  std::vector<Link> cut_;
  Lines notes_;
  bool asked_ = false;  // for votes, since it was set back
};

}  // namespace kv::scenario

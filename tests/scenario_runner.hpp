// The language of the scenarios: what a line "> …" of tests/scenarios/*.txt means.
//
//   cluster n1 n2 n3 [guards_first_start] [max_append_bytes=100]
//                            these servers, started with empty disks; all that was before is forgotten
//   log n1 1 1 2:x [term=3] [vote=n2] [commit=2]
//                            n1 starts anew from a disk with this log: the entries' terms, some with a command.
//                            Its term is that of the last entry unless said
//   first_command n1 x       what n1 opens an empty log with (guards_first_start)
//
//   tick n1 n2 10            time passes for these alone, tick by tick; 1 tick if no number. "all": every one up
//   campaign n1              time passes for n1 until it asks for votes
//   propose n1 x y           a client's commands come to n1
//   read n1 7                a linearizable read, number 7, comes to n1
//   transfer n1 n2           n1 is to hand leadership to n2
//
//   deliver n1->n2 [1]       the messages on their way on this link arrive (or only so many, the oldest)
//   deliver n1->all          also all->n1, and all: what is on its way now, not what is sent in answer
//   drop n1->n2 [1]          the same messages are lost
//   stabilize [n1 n2]        all messages arrive (between these servers), and the answers, until there are none
//   cut n1                   nothing gets to n1 or from it; cut n1->n2: one way
//   heal                     every link works again
//   link n1 n2               n1 is told that its connection to n2 broke or came back
//
//   disk n1 slow|fast        slow: a write ends only by "written"; fast: each ends at once, as at the start
//   written n1               the write of n1 that is under way has ended
//   crash n1                 n1 stops; its disk keeps what was durable
//   restart n1               n1 starts from its disk
//
//   show [n1 n2]             each server's role, term, vote, commit position and the terms of its log
//   progress n1              what the leader n1 knows of its peers
//   quietly COMMAND          the same without its output, to set a stage
//
// Times are those of raft_test::config(): a heartbeat every 3 ticks, an election timeout of 10 … 19 ticks. The
// timers' seeds are the servers' positions, so that a scenario is a function of its text.
#pragma once

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <map>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

#include "tests/scenario_cluster.hpp"

namespace kv::scenario {

class Runner {
 public:
  // Carries out one command; returns its output. Throws ScriptError for what is not one.
  Lines run(const std::string& command) {
    std::istringstream stream(command);
    Words words;
    for (std::string word; stream >> word;) words.push_back(word);
    const bool quietly = !words.empty() && words.front() == "quietly";
    if (quietly) words.erase(words.begin());
    if (words.empty()) throw ScriptError("there is no command");

    const auto found = commands().find(words.front());
    if (found == commands().end()) throw ScriptError("unknown command '" + words.front() + "'" + known_commands());
    words.erase(words.begin());
    const Command& known = found->second;
    if (words.size() < known.least || words.size() > known.most) {
      throw ScriptError("usage: " + found->first + " " + known.usage);
    }
    if (!cluster_ && found->first != "cluster") throw ScriptError("the first command is 'cluster'");
    (this->*known.run)(words);
    Lines out = cluster_->take_notes();
    if (quietly) out.clear();
    return out;
  }

 private:
  using Words = std::vector<std::string>;
  struct Command {
    std::string usage;
    std::size_t least;
    std::size_t most;
    void (Runner::*run)(const Words&);
  };

  static const std::map<std::string, Command>& commands() {
    constexpr std::size_t many = 100;
    static const std::map<std::string, Command> table = {
        {"cluster", {"SERVER… [guards_first_start] [max_append_bytes=N]", 1, many, &Runner::cluster}},
        {"log", {"SERVER [TERM[:COMMAND]]… [term=N] [vote=SERVER] [commit=N]", 1, many, &Runner::log}},
        {"first_command", {"SERVER COMMAND", 2, 2, &Runner::first_command}},
        {"tick", {"SERVER…|all [COUNT]", 1, many, &Runner::tick}},
        {"campaign", {"SERVER", 1, 1, &Runner::campaign}},
        {"propose", {"SERVER COMMAND…", 2, many, &Runner::propose}},
        {"read", {"SERVER NUMBER", 2, 2, &Runner::read}},
        {"transfer", {"SERVER TO", 2, 2, &Runner::transfer}},
        {"deliver", {"FROM->TO|all [COUNT]", 1, 2, &Runner::deliver}},
        {"drop", {"FROM->TO|all [COUNT]", 1, 2, &Runner::drop}},
        {"stabilize", {"[SERVER…]", 0, many, &Runner::stabilize}},
        {"cut", {"SERVER|FROM->TO", 1, 1, &Runner::cut}},
        {"heal", {"", 0, 0, &Runner::heal}},
        {"link", {"SERVER PEER", 2, 2, &Runner::link}},
        {"disk", {"SERVER slow|fast", 2, 2, &Runner::disk}},
        {"written", {"SERVER", 1, 1, &Runner::written}},
        {"crash", {"SERVER", 1, 1, &Runner::crash}},
        {"restart", {"SERVER", 1, 1, &Runner::restart}},
        {"show", {"[SERVER…]", 0, many, &Runner::show}},
        {"progress", {"SERVER", 1, 1, &Runner::progress}},
    };
    return table;
  }
  static std::string known_commands() {
    std::string out = "; there are:";
    for (const auto& [name, command] : commands()) out += " " + name;
    return out + " quietly";
  }

  // ---- Words

  static std::uint64_t number(const std::string& word) {
    std::uint64_t value = 0;
    const char* const end = word.data() + word.size();
    const auto [stop, error] = std::from_chars(word.data(), end, value);
    if (error != std::errc{} || stop != end) throw ScriptError("not a number: '" + word + "'");
    return value;
  }
  static bool is_number(const std::string& word) {
    return !word.empty() && std::all_of(word.begin(), word.end(), [](char c) { return c >= '0' && c <= '9'; });
  }
  // "key=value": the value.
  static std::optional<std::string> value_of(const std::string& key, const std::string& word) {
    if (!word.starts_with(key + "=")) return std::nullopt;
    return word.substr(key.size() + 1);
  }
  NodeId server(const std::string& word) const {
    NodeId name(word);
    if (!cluster_->contains(name)) throw ScriptError("no server '" + word + "' in this cluster");
    return name;
  }
  // "n1->n2", "n1->all", "all->n2", "all".
  Link links(const std::string& word) const {
    if (word == "all") return {};
    const std::size_t arrow = word.find("->");
    if (arrow == std::string::npos) throw ScriptError("not a link (as n1->n2, n1->all or all): '" + word + "'");
    const auto end = [this](const std::string& name) { return name == "all" ? NodeId{} : server(name); };
    return {end(word.substr(0, arrow)), end(word.substr(arrow + 2))};
  }
  static std::size_t count(const Words& words) { return words.size() < 2 ? SIZE_MAX : number(words[1]); }

  // ---- The stage

  void cluster(const Words& words) {
    Config settings = raft_test::config();
    settings.seed = 0;
    std::vector<NodeId> names;
    for (const std::string& word : words) {
      if (word == "guards_first_start") {
        settings.guards_first_start = true;
      } else if (const auto bytes = value_of("max_append_bytes", word)) {
        settings.limits.max_append_bytes = number(*bytes);
      } else if (is_number(word) || word == "all" || word.find_first_of("=->:") != std::string::npos) {
        throw ScriptError("neither a server's name nor a setting: '" + word + "'");
      } else if (std::find(names.begin(), names.end(), NodeId(word)) != names.end()) {
        throw ScriptError("'" + word + "' is there twice");
      } else {
        names.emplace_back(word);
      }
    }
    if (names.empty()) throw ScriptError("a cluster has at least one server");
    cluster_.emplace(names, settings);
  }

  void log(const Words& words) {
    raft_test::Disk disk;
    std::optional<Term> term;
    for (std::size_t i = 1; i < words.size(); ++i) {
      if (const auto given = value_of("term", words[i])) {
        term = Term(number(*given));
      } else if (const auto vote = value_of("vote", words[i])) {
        disk.hard_state.vote = server(*vote);
      } else if (const auto commit = value_of("commit", words[i])) {
        disk.commit = Index(number(*commit));
      } else {
        append_to(disk, words[i]);
      }
    }
    const Term last = disk.entries.empty() ? Term{} : disk.entries.back().term;
    disk.hard_state.term = term.value_or(last);
    if (disk.hard_state.term < last) throw ScriptError("the term is older than the last entry");
    if (disk.commit.value > disk.entries.size()) throw ScriptError("the commit position is behind the log's end");
    cluster_->start_from(server(words[0]), std::move(disk));
  }
  // "2" or "2:x".
  static void append_to(raft_test::Disk& disk, const std::string& word) {
    const std::size_t colon = std::min(word.find(':'), word.size());
    const Term term(number(word.substr(0, colon)));
    if (!disk.entries.empty() && term < disk.entries.back().term) throw ScriptError("terms never fall along a log");
    const std::string command = colon == word.size() ? "" : word.substr(colon + 1);
    disk.entries.push_back({term, Index(disk.entries.size() + 1), raft_test::text(command)});
  }

  void first_command(const Words& words) {
    const NodeId name = server(words[0]);
    cluster_->running(name).raft->set_first_command(raft_test::text(words[1]));
  }

  // ---- Time and clients

  void tick(const Words& words) {
    Words names = words;
    std::uint64_t ticks = 1;
    if (names.size() > 1 && is_number(names.back())) {
      ticks = number(names.back());
      names.pop_back();
    }
    std::vector<NodeId> who;
    if (names == Words{"all"}) {
      for (const Cluster::Server& s : cluster_->servers()) {
        if (s.raft) who.push_back(s.config.self);
      }
    } else {
      for (const std::string& name : names) who.push_back(server(name));
    }
    for (; ticks > 0; --ticks) {
      for (const NodeId& name : who) cluster_->tick(name);
    }
  }

  void campaign(const Words& words) {
    if (!cluster_->campaign(server(words[0]))) cluster_->note(words[0] + " does not ask");
  }
  void propose(const Words& words) {
    std::vector<Payload> commands;
    for (std::size_t i = 1; i < words.size(); ++i) commands.push_back(raft_test::text(words[i]));
    const bool taken = cluster_->input(server(words[0]), [&](Raft& r) { return r.propose(commands).has_value(); });
    if (!taken) cluster_->note(words[0] + " does not take it");
  }
  void read(const Words& words) {
    const std::uint64_t id = number(words[1]);
    if (!cluster_->input(server(words[0]), [&](Raft& r) { return r.read(id); })) {
      cluster_->note(words[0] + " does not take it");
    }
  }
  void transfer(const Words& words) {
    const NodeId to = server(words[1]);
    cluster_->input(server(words[0]), [&](Raft& r) { return r.transfer(to), true; });
  }

  // ---- The network

  void deliver(const Words& words) {
    if (cluster_->deliver(links(words[0]), count(words)) == 0) cluster_->note("nothing is on its way");
  }
  void drop(const Words& words) {
    if (cluster_->drop(links(words[0]), count(words)) == 0) cluster_->note("nothing is on its way");
  }
  void stabilize(const Words& words) {
    std::vector<NodeId> who;
    for (const std::string& word : words) who.push_back(server(word));
    cluster_->stabilize(
        [&](const NodeId& name) { return who.empty() || std::find(who.begin(), who.end(), name) != who.end(); });
  }
  void cut(const Words& words) {
    if (words[0].find("->") != std::string::npos) {
      cluster_->cut(links(words[0]));
      return;
    }
    const NodeId name = server(words[0]);
    cluster_->cut({name, {}});
    cluster_->cut({{}, name});
  }
  void heal(const Words&) { cluster_->heal(); }
  void link(const Words& words) {
    const NodeId peer = server(words[1]);
    cluster_->input(server(words[0]), [&](Raft& r) { return r.link_changed(peer), true; });
  }

  // ---- The disk

  void disk(const Words& words) {
    if (words[1] != "slow" && words[1] != "fast") throw ScriptError("a disk is slow or fast");
    cluster_->set_slow_disk(server(words[0]), words[1] == "slow");
  }
  void written(const Words& words) { cluster_->end_write(server(words[0])); }
  void crash(const Words& words) { cluster_->crash(server(words[0])); }
  void restart(const Words& words) { cluster_->start(server(words[0])); }

  // ---- What can be seen

  void show(const Words& words) {
    std::vector<NodeId> who;
    for (const std::string& word : words) who.push_back(server(word));
    std::vector<Words> rows;
    for (const Cluster::Server& s : cluster_->servers()) {
      if (who.empty() || std::find(who.begin(), who.end(), s.config.self) != who.end()) rows.push_back(row_of(s));
    }
    Words lines(rows.size());
    for (std::size_t column = 0; column < rows.front().size(); ++column) {
      std::size_t width = 0;
      for (const Words& row : rows) width = std::max(width, row[column].size());
      for (std::size_t i = 0; i < rows.size(); ++i) {
        lines[i].resize(lines[i].size() + (column == 0 ? 0 : 2), ' ');
        lines[i] += rows[i][column];
        if (column + 1 < rows[i].size()) lines[i].resize(lines[i].size() + width - rows[i][column].size(), ' ');
      }
    }
    for (std::string& line : lines) cluster_->note(line.substr(0, line.find_last_not_of(' ') + 1));
  }
  static Words row_of(const Cluster::Server& s) {
    if (!s.raft) return {s.config.self.name, "down", "", "", "", ""};
    std::string log = "log";
    for (const std::uint64_t term : raft_test::terms_of(s.raft->log())) log += " " + std::to_string(term);
    const bool follows = s.raft->role() == Role::follower && !s.raft->leader().empty();
    return {s.config.self.name,
            text_of(s.raft->role()) + (follows ? " of " + s.raft->leader().name : ""),
            "term " + std::to_string(s.raft->term().value),
            s.raft->vote().empty() ? "no vote" : "vote " + s.raft->vote().name,
            "commit " + std::to_string(s.raft->commit().value),
            log};
  }

  void progress(const Words& words) {
    const Raft& leader = *cluster_->running(server(words[0])).raft;
    if (!leader.leads()) throw ScriptError(words[0] + " does not lead");
    for (const Cluster::Server& s : cluster_->servers()) {
      const Progress* known = leader.progress_of(s.config.self);
      if (!known) continue;
      const bool probes = known->mode == Progress::Mode::probe;
      cluster_->note(s.config.self.name + ": " + (probes ? "probe" : "replicate") + ", match " +
                     std::to_string(known->match.value) + ", next " + std::to_string(known->next.value) +
                     ", in flight " + std::to_string(known->in_flight.size()));
    }
  }

  std::optional<Cluster> cluster_;
};

}  // namespace kv::scenario

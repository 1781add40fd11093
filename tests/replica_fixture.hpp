// A small cluster in memory, for the tests of the replica: real Replica objects, links that deliver in order and
// can be held or cut, disks whose writes end when they are let, and restarts from what was durable.
//
// Nothing happens by itself: run() lets everything happen that needs no time, tick() lets time pass. What holds
// whatever a test does is checked here: one final answer for a request, no PUT_OK before a majority has the
// write on disk, and no two servers that keep each other busy for ever.
#pragma once

#include <algorithm>
#include <catch2/catch.hpp>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "server/recovery.hpp"
#include "server/wal_format.hpp"
#include "tests/memory_directory.hpp"

namespace kv::replica_test {

using Body = decltype(message::Request::body);
using AnswerBody = decltype(message::Answer::body);

inline message::Put put(std::string key, std::string value) {
  return {std::move(key), std::move(value), {}, {}};
}
inline message::Delete erase(std::string key) {
  return {std::move(key), {}, {}};
}
inline message::Get get(std::string key, std::uint64_t ts = 0) {
  return {std::move(key), ts, {}};
}
inline message::Get linearizable(std::string key) {
  return {std::move(key), 0, message::Consistency::linearizable};
}
inline message::Get local(std::string key, std::uint64_t ts = 0) {
  return {std::move(key), ts, message::Consistency::local};
}

// As "colour=blue@3", "colour gone@4"; with a + behind it if another of the same position follows.
inline std::string describe(const message::Event& event, bool more) {
  return event.key + (event.value ? "=" + *event.value : " gone") + "@" + std::to_string(event.ts) +
         (more ? "+" : "");
}
inline std::string describe(const message::ListOk& ok) {
  std::string text = "LIST_OK";
  for (const message::ListItem& item : ok.items) {
    text += " " + item.key + (item.value ? "=" + *item.value : "") + "@" + std::to_string(item.ts);
  }
  return text + (ok.more ? " and more" : "");
}
inline std::string describe(const message::TxnOk& ok) {
  std::string text = "TXN_OK " + std::to_string(ok.ts) + (ok.succeeded ? " then" : " else");
  for (const message::TxnResult& result : ok.results) {
    text += " " + std::string(name_of(result.op)) + " " + result.key;
    if (result.op == message::Operation::get) {
      text += result.value ? "=" + *result.value + "@" + std::to_string(result.ts) : " absent";
    }
  }
  return text;
}

// What matters of an answer: "PUT_OK 3", "GET_OK blue@3", "GET_OK absent", "ERROR NO_LEADER", …
inline std::string describe(const AnswerBody& body) {
  if (const auto* list_ok = std::get_if<message::ListOk>(&body)) return describe(*list_ok);
  if (const auto* txn_ok = std::get_if<message::TxnOk>(&body)) return describe(*txn_ok);
  if (const auto* event = std::get_if<message::SharedEvent>(&body))
    return describe(event->once->event, event->more);
  if (const auto* watch_ok = std::get_if<message::WatchOk>(&body)) {
    return "WATCH_OK " + std::to_string(watch_ok->applied);
  }
  if (const auto* cancel_ok = std::get_if<message::CancelOk>(&body)) {
    return cancel_ok->found ? "CANCEL_OK" : "CANCEL_OK absent";
  }
  if (const auto* put_ok = std::get_if<message::PutOk>(&body)) return "PUT_OK " + std::to_string(put_ok->ts);
  if (const auto* delete_ok = std::get_if<message::DeleteOk>(&body)) {
    return "DELETE_OK " + std::to_string(delete_ok->ts) + (delete_ok->found ? " found" : " absent");
  }
  if (const auto* get_ok = std::get_if<message::GetOk>(&body)) {
    return get_ok->value ? "GET_OK " + *get_ok->value + "@" + std::to_string(get_ok->ts) : "GET_OK absent";
  }
  if (const auto* error = std::get_if<message::Error>(&body)) return "ERROR " + std::string(name_of(error->code));
  if (std::holds_alternative<message::WaitForResponse>(body)) return "WAIT_FOR_RESPONSE";
  if (std::holds_alternative<message::BackupOk>(body)) return "BACKUP_OK";
  return std::holds_alternative<message::InitOk>(body) ? "INIT_OK" : "STATUS_OK";
}

struct Options {
  std::size_t size = 3;
  std::string cluster_id = "cluster";
  bool formed = true;  // the cluster has been formed by n1, which leads
  std::string preferred_leader = {};
  std::map<std::string, std::uint32_t> delay_ticks = {};
  ReplicaLimits limits = {};
  std::uint64_t segment_bytes = 4096;
  std::uint64_t snapshot_every = 100'000;
  std::size_t snapshot_log_bytes = 64 << 20;
  std::size_t snapshot_piece_bytes = 64 << 10;
  std::uint64_t quota = 0;
  WatchLimits watch_limits = {};
};

// As long as a UUID.
inline std::string identity_of(const std::string& name) {
  const std::string text = "identity of " + name;
  return text + std::string(wal::identity_bytes - text.size(), '.');
}

inline constexpr std::uint32_t heartbeat_ticks = 3;
inline constexpr std::uint32_t election_ticks = 20;

class Cluster {
 public:
  explicit Cluster(Options options = {}) : options_(std::move(options)) {
    for (std::size_t i = 1; i <= options_.size; ++i) {
      const std::string name = "n" + std::to_string(i);
      names_.push_back(name);
      nodes_[name].self = {name, identity_of(name), name + ":7501", name + ":7401"};
    }
    if (!options_.formed) return;
    for (const auto& name : names_) start(name);
    elect("n1");
  }

  Replica& operator[](const std::string& name) { return *nodes_.at(name).replica; }

  // ---- Clients

  ClientId client(const std::string& node) {
    clients_[next_client_] = node;
    return next_client_++;
  }

  // Returns the request's id, which no other request of the test has. Nothing has happened yet: see run().
  std::uint64_t ask(ClientId client, Body body, std::optional<std::uint64_t> timeout_ms = {},
                    std::string cluster = {}) {
    const std::uint64_t id = next_id_++;
    asked_[id] = client;
    (*this)[clients_.at(client)].request(client, {id, timeout_ms, std::move(cluster), std::move(body)});
    return id;
  }

  // Asks, lets happen what needs no time, and says what was answered.
  std::string at_once(ClientId client, Body body) {
    const std::uint64_t id = ask(client, std::move(body));
    run();
    return said(id);
  }

  // The same, of what takes its time.
  std::string in_time(ClientId client, Body body) {
    const std::uint64_t id = ask(client, std::move(body));
    run();
    for (int ticks = 0; !answers_.contains(id); ++ticks) {
      REQUIRE(ticks < 1000);
      tick();
    }
    return said(id);
  }

  void gone(ClientId client) {
    (*this)[clients_.at(client)].client_gone(client);
    clients_.erase(client);
  }

  bool is_connected(ClientId client) const { return clients_.contains(client); }

  // All answers to the request so far, as "WAIT_FOR_RESPONSE, GET_OK blue@3".
  std::string said(std::uint64_t id) const {
    const auto found = answers_.find(id);
    if (found == answers_.end()) return "nothing yet";
    std::string text;
    for (const AnswerBody& body : found->second) text += (text.empty() ? "" : ", ") + describe(body);
    return text;
  }

  template <class T>
  T last(std::uint64_t id) const {
    INFO("request " << id << ": " << said(id));
    REQUIRE(answers_.contains(id));
    REQUIRE(std::holds_alternative<T>(answers_.at(id).back()));
    return std::get<T>(answers_.at(id).back());
  }

  // The most that one turn's answers held of values, so far.
  std::size_t most_answer_bytes() const { return most_answer_bytes_; }

  // ---- Time

  // All that needs no time: messages, disk writes, answers.
  void run() {
    for (int turns = 0; turn(); ++turns) REQUIRE(turns < 10'000);
  }

  void tick(std::uint64_t ticks = 1) {
    for (std::uint64_t i = 0; i < ticks; ++i) {
      for (auto& [name, node] : nodes_) {
        if (is_awake(node)) node.replica->tick();
      }
      run();
    }
  }

  // Only this server's candidacy is heard from now on; "": everybody's again.
  void let_stand(const std::string& name) { only_candidate_ = name; }

  // Lets time pass until `name` leads and all that it reaches know. Nobody else's candidacy is heard meanwhile.
  void elect(const std::string& name) {
    only_candidate_ = name;
    for (int ticks = 0; !(*this)[name].raft().leads(); ++ticks) {
      REQUIRE(ticks < 1000);
      tick();
    }
    tick(heartbeat_ticks);
    only_candidate_.clear();
  }

  // ---- Servers and their disks

  void start(const std::string& name) {
    Node& node = nodes_.at(name);
    ReplicaConfig config;
    config.self = node.self;
    config.names = names_;
    config.new_cluster = options_.cluster_id + " of " + name + ", start " + std::to_string(++starts_);
    config.server = "kvd test";
    config.preferred_leader = options_.preferred_leader;
    config.heartbeat_ticks = heartbeat_ticks;
    config.election_ticks = election_ticks;
    if (options_.delay_ticks.contains(name)) config.delay_ticks = options_.delay_ticks.at(name);
    config.seed = 0x9e3779b97f4a7c15 * starts_;
    config.limits = options_.limits;
    config.snapshot_every = options_.snapshot_every;
    config.snapshot_log_bytes = options_.snapshot_log_bytes;
    config.snapshot_piece_bytes = options_.snapshot_piece_bytes;
    config.quota = options_.quota;
    config.watch_limits = options_.watch_limits;
    Recovered recovered = recover(node.disk.directory, WalOptions{options_.segment_bytes},
                                  {sessions_kept, options_.snapshot_piece_bytes, options_.snapshot_piece_bytes},
                                  node.self.identity, std::exchange(node.is_restored, false));
    REQUIRE(recovered.identity == node.self.identity);
    node.disk.log = std::move(recovered.wal);
    node.disk.snapshots = std::move(recovered.snapshots);
    node.warnings = recovered.warnings;
    node.replica = std::make_unique<Replica>(std::move(config), std::move(recovered.replica));
  }

  bool is_up(const std::string& name) const { return nodes_.at(name).replica != nullptr; }

  // As with kill -9 and a power failure at once: what was not durable is gone. Or some of it is.
  void crash(const std::string& name, MemoryDirectory::Kept kept = MemoryDirectory::Kept::nothing) {
    nodes_.at(name).replica.reset();
    nodes_.at(name).disk.crash(kept);
    for (auto& other : names_) drop_links(name, other);
    std::erase_if(clients_, [&](const auto& item) { return item.second == name; });
  }

  void restart(const std::string& name) {
    crash(name);
    start(name);
    run();
  }

  // Its data directory is emptied: it comes back with another identity.
  void wipe(const std::string& name) {
    crash(name);
    nodes_.at(name).disk = {};
    nodes_.at(name).self.identity = identity_of(name + ", wiped");
  }

  void move_to(const std::string& name, const std::string& address) {
    crash(name);
    nodes_.at(name).self.client_address = address;
    start(name);
    run();
  }

  void stall_disk(const std::string& name) { nodes_.at(name).disk.stalled = true; }
  void release_disk(const std::string& name) { nodes_.at(name).disk.stalled = false; }
  // What is to be done with snapshots waits; the log is written.
  void stall_snapshots(const std::string& name) { nodes_.at(name).disk.snapshots_stalled = true; }
  void release_snapshots(const std::string& name) { nodes_.at(name).disk.snapshots_stalled = false; }
  // One task of them, though they are stalled.
  void do_snapshot_task(const std::string& name) {
    release_snapshots(name);
    finish_snapshot_task(nodes_.at(name));
    stall_snapshots(name);
  }
  // As SIGSTOP does: no time passes for it, nothing reaches it or leaves it.
  void sleep(const std::string& name) { nodes_.at(name).asleep = true; }
  void wake(const std::string& name) { nodes_.at(name).asleep = false; }

  std::uint64_t durable_copies(std::uint64_t position) const {
    std::map<raft::Term, std::uint64_t> copies;
    std::uint64_t most = 0;
    for (const auto& [name, node] : nodes_) {
      const auto found = node.disk.terms.find(position);
      if (found != node.disk.terms.end()) most = std::max(most, ++copies[found->second]);
    }
    return most;
  }

  // Puts a backup into a data directory that is empty; the server begins with it when it starts.
  void restore(const std::string& name, const std::string& backup) {
    MemoryDirectory elsewhere;
    const auto file = elsewhere.create("backup");
    file->write_at(0, backup);
    restore_backup(directory(name), *file, "backup", {});
    nodes_.at(name).is_restored = true;
  }

  // How many parts of snapshots have been sent to `name`.
  std::size_t parts_sent_to(const std::string& name) const {
    const auto found = parts_sent_.find(name);
    return found == parts_sent_.end() ? 0 : found->second;
  }

  MemoryDirectory& directory(const std::string& name) { return nodes_.at(name).disk.directory; }
  // What the last start had to say of damage.
  const std::vector<std::string>& news(const std::string& name) const { return nodes_.at(name).news; }
  const std::vector<std::string>& warnings(const std::string& name) const { return nodes_.at(name).warnings; }

  // ---- Links

  // Both ends learn of it at once, and what was on its way is lost.
  void cut(const std::string& a, const std::string& b) {
    cut_.insert({a, b});
    drop_links(a, b);
  }
  void heal(const std::string& a, const std::string& b) { cut_.erase({a, b}); }
  // The links break and are opened again.
  void relink(const std::string& a, const std::string& b) {
    drop_links(a, b);
    run();
  }
  // What `from` says to `to` is on its way and does not arrive; nobody notices.
  void hold(const std::string& from, const std::string& to) { held_.insert({from, to}); }
  void release(const std::string& from, const std::string& to) { held_.erase({from, to}); }
  void hold_all(const std::string& name) {
    for (const auto& other : names_) held_.insert({{name, other}, {other, name}});
  }
  void release_all(const std::string& name) {
    for (const auto& other : names_) release(name, other), release(other, name);
  }
  // The end of all faults: everything runs, and sees everything.
  void heal_everything() {
    cut_.clear();
    held_.clear();
    for (auto& [name, node] : nodes_) {
      node.asleep = node.disk.stalled = node.disk.snapshots_stalled = false;
      if (!node.replica) start(name);
    }
  }
  // Why the last attempt to link the two failed; empty if none has.
  std::string refusal(const std::string& from, const std::string& to) const {
    const auto found = refusals_.find({from, to});
    return found == refusals_.end() ? "" : found->second;
  }
  void hand_over(const std::string& to, const std::string& from, PeerMessage message) {
    message.peer = raft::NodeId(from);
    const std::string identity = nodes_.at(from).self.identity;
    // As server/peers.cpp does: the connection is closed.
    if (!(*this)[to].receive(std::move(message), identity)) drop_links(from, to);
  }

 private:
  using Pair = std::pair<std::string, std::string>;
  struct Disk {
    MemoryDirectory directory;
    std::unique_ptr<Wal> log;
    std::unique_ptr<Snapshots> snapshots;
    std::map<std::uint64_t, raft::Term> terms;  // of the durable entries, by position
    std::optional<raft::Write> under_way;
    std::deque<SnapshotTask> tasks;
    bool stalled = false;
    bool snapshots_stalled = false;

    void crash(MemoryDirectory::Kept kept) {
      log.reset();
      snapshots.reset();
      under_way.reset();
      tasks.clear();
      directory.crash(kept);
    }
  };
  struct Node {
    command::Member self;
    Disk disk;
    std::unique_ptr<Replica> replica;  // null: it does not run
    bool asleep = false;
    std::vector<std::string> warnings;
    std::vector<std::string> news;
    bool is_restored = false;
  };
  // One connection: the first of the pair has dialled the second, asks there and gets the answers there.
  struct Link {
    std::deque<PeerMessage> asked;
    std::deque<PeerMessage> answered;
  };

  static bool is_awake(const Node& node) { return node.replica && !node.asleep; }

  bool turn() {
    bool busy = false;
    for (const auto& a : names_) {
      for (const auto& b : names_) busy |= open_link(a, b);
    }
    for (const auto& a : names_) {
      for (const auto& b : names_) busy |= deliver(a, b);
    }
    for (const auto& name : names_) busy |= take_effects(name);
    for (const auto& name : names_) {
      try {
        busy |= finish_write(nodes_.at(name));
        busy |= finish_snapshot_task(nodes_.at(name));
      } catch (const FileError&) {
        crash(name);  // a disk error is final
        busy = true;
      }
    }
    return busy;
  }

  bool open_link(const std::string& from, const std::string& to) {
    Node& dialling = nodes_.at(from);
    Node& listening = nodes_.at(to);
    if (from == to || links_.contains({from, to}) || !is_awake(dialling) || !is_awake(listening)) return false;
    if (cut_.contains({from, to}) || cut_.contains({to, from})) return false;
    if (held_.contains({from, to}) || held_.contains({to, from})) return false;
    const Roster& ours = dialling.replica->roster();
    const Roster& theirs = listening.replica->roster();
    const message::PeerInitOk ok = theirs.welcome();
    auto error = theirs.check(ours.introduction(to));
    if (!error) error = ours.check(to, ok);
    refusals_[{from, to}] = error ? error->message : "";
    if (error) return false;
    links_[{from, to}];
    dialling.replica->link_up(ok);
    return true;
  }

  void drop_links(const std::string& a, const std::string& b) {
    for (const Pair& pair : {Pair{a, b}, Pair{b, a}}) {
      if (links_.erase(pair) == 0) continue;
      if (auto& replica = nodes_.at(pair.first).replica) replica->link_down(pair.second);
    }
  }

  bool deliver(const std::string& from, const std::string& to) {
    if (!links_.contains({from, to})) return false;
    const bool asked = hand_over_all(links_[{from, to}].asked, from, to);
    if (!links_.contains({from, to})) return true;  // what was asked was not welcome
    return hand_over_all(links_[{from, to}].answered, to, from) || asked;
  }

  bool hand_over_all(std::deque<PeerMessage>& queue, const std::string& from, const std::string& to) {
    if (queue.empty() || held_.contains({from, to}) || !is_awake(nodes_.at(to))) return false;
    for (PeerMessage& message : std::exchange(queue, {})) hand_over(to, from, std::move(message));
    return true;
  }

  bool take_effects(const std::string& name) {
    Node& node = nodes_.at(name);
    if (!is_awake(node)) return false;
    Effects effects = node.replica->take_effects();
    const bool busy =
        effects.write || !effects.send.empty() || !effects.answers.empty() || node.replica->has_more();
    for (SnapshotTask& task : effects.snapshot_tasks) node.disk.tasks.push_back(std::move(task));
    for (const Notice& notice : effects.notices) {
      if (notice.level == Notice::Level::warn) node.warnings.push_back(notice.text);
      if (notice.level == Notice::Level::info) node.news.push_back(notice.text);
    }
    if (effects.write) {
      REQUIRE(!node.disk.under_way);
      node.disk.under_way = std::move(effects.write);
    }
    std::size_t bytes = 0;
    for (PeerMessage& message : effects.send) {
      if (const auto* ok = std::get_if<message::ForwardOk>(&message.body))
        bytes += std::visit([](const auto& body) { return value_bytes(body); }, ok->answer);
      send(name, std::move(message));
    }
    for (ClientAnswer& answer : effects.answers) {
      bytes += std::visit([](const auto& body) { return value_bytes(body); }, answer.answer.body);
      note(std::move(answer));
    }
    most_answer_bytes_ = std::max(most_answer_bytes_, bytes);
    return busy;
  }

  static std::size_t value_bytes(const message::GetOk& ok) { return ok.value ? ok.value->size() : 0; }
  static std::size_t value_bytes(const message::TxnOk& ok) {
    std::size_t bytes = 0;
    for (const message::TxnResult& result : ok.results) bytes += result.value ? result.value->size() : 0;
    return bytes;
  }
  template <class Other>
  static std::size_t value_bytes(const Other&) {
    return 0;
  }

  void send(const std::string& from, PeerMessage message) {
    if (std::holds_alternative<message::Snapshot>(message.body)) ++parts_sent_[message.peer.name];
    const auto* raft_message = std::get_if<raft::Message>(&message.body);
    const bool stands = raft_message && std::holds_alternative<raft::VoteRequest>(*raft_message);
    if (stands && !only_candidate_.empty() && from != only_candidate_) return;
    const std::string to = message.peer.name;
    const bool answers = is_answer(message);
    // As server/peers.cpp does: whatever connection is there now takes it.
    const auto link = links_.find(answers ? Pair{to, from} : Pair{from, to});
    if (link != links_.end()) (answers ? link->second.answered : link->second.asked).push_back(std::move(message));
  }

  void note(ClientAnswer answer) {
    if (!clients_.contains(answer.client)) return;
    REQUIRE(answer.answer.id.has_value());
    const std::uint64_t id = *answer.answer.id;
    INFO("request " << id << ", already answered: " << said(id) << "; now " << describe(answer.answer.body));
    REQUIRE(asked_.at(id) == answer.client);
    auto& answers = answers_[id];
    if (!answer.unasked) {
      REQUIRE((answers.empty() || std::holds_alternative<message::WaitForResponse>(answers.back())));
    }
    if (const auto* ok = std::get_if<message::PutOk>(&answer.answer.body)) {
      REQUIRE(durable_copies(ok->ts) >= names_.size() / 2 + 1);
    }
    answers.push_back(std::move(answer.answer.body));
  }

  static bool finish_write(Node& node) {
    if (!is_awake(node) || !node.disk.under_way || node.disk.stalled) return false;
    const raft::Write write = *std::exchange(node.disk.under_way, std::nullopt);
    Disk& disk = node.disk;
    disk.log->append(write);
    if (write.snapshot && write.snapshot->resets_log) disk.terms.clear();
    for (const raft::Entry& entry : write.entries) {
      disk.terms.erase(disk.terms.lower_bound(entry.index.value), disk.terms.end());
      disk.terms[entry.index.value] = entry.term;
    }
    node.replica->written(write.id);
    return true;
  }

  static bool finish_snapshot_task(Node& node) {
    if (!is_awake(node) || node.disk.tasks.empty() || node.disk.stalled) return false;
    if (node.disk.snapshots_stalled) return false;
    SnapshotTask task = std::move(node.disk.tasks.front());
    node.disk.tasks.pop_front();
    std::optional<SnapshotResult> result = node.disk.snapshots->perform(std::move(task));
    node.disk.snapshots->take_remains().clear();
    if (result) node.replica->snapshot_done(std::move(*result));
    return true;
  }

  Options options_;
  std::vector<std::string> names_;
  std::map<std::string, Node> nodes_;
  std::map<Pair, Link> links_;  // those that are open
  std::set<Pair> cut_;
  std::set<Pair> held_;
  std::map<Pair, std::string> refusals_;
  std::map<std::string, std::size_t> parts_sent_;
  std::string only_candidate_;
  std::map<ClientId, std::string> clients_;
  std::map<std::uint64_t, ClientId> asked_;
  std::map<std::uint64_t, std::vector<AnswerBody>> answers_;
  ClientId next_client_ = 1;
  std::uint64_t next_id_ = 1;
  std::uint64_t starts_ = 0;
  std::size_t most_answer_bytes_ = 0;
};

}  // namespace kv::replica_test

// The heart of a server: one input at a time -> raft -> disk -> send -> apply -> answer.
//
// A Replica owns the consensus core, the store and everything that waits: writes on their way, reads that are
// parked until this server is fresh enough, first INITs of a cluster that is still forming. It is a state
// machine like the core: inputs change it, take_effects() hands out what the outside must do. No sockets, no
// files, no threads, no clock (ticks come in), no randomness but the seed; so the simulator runs this code.
//
// One input after another:        replica.request(client, request); …; replica.written(id); …
// then, once a turn of the loop:  Effects effects = replica.take_effects();
//
// Files: replica.cpp inputs, effects and applying; replica_writes.cpp and replica_reads.cpp what clients ask;
// replica_watches.cpp who is told of changes; replica_snapshots.cpp snapshots and backups; replica_members.cpp who
// belongs to the cluster and who leads it.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "common/message.hpp"
#include "server/client_answer.hpp"
#include "server/command.hpp"
#include "server/log_pace.hpp"
#include "server/raft/raft.hpp"
#include "server/roster.hpp"
#include "server/snapshot_task.hpp"
#include "server/store.hpp"
#include "server/translate.hpp"
#include "server/watches.hpp"

namespace kv {

inline constexpr std::uint64_t tick_ms = 10;

struct PeerMessage {
  raft::NodeId peer;  // to whom, or from whom
  std::variant<raft::Message, message::Forward, message::ForwardOk, message::Snapshot, message::SnapshotOk> body;
};

// Whether it answers one of the receiver's, which dialled the connection it comes by; the others ask something of
// it.
bool is_answer(const PeerMessage& message);

// Something that an operator should know.
struct Notice {
  enum class Level { debug, info, warn };
  Level level = Level::info;
  std::string text;
};

// All that the outside must do. `write` goes to the disk, whose end is told with written(); messages
// that must wait for it stay in the replica until then. `snapshot_tasks` are performed in their order, and each
// result is given to snapshot_done().
struct Effects {
  std::optional<raft::Write> write;
  std::vector<SnapshotTask> snapshot_tasks;
  std::vector<PeerMessage> send;
  std::vector<ClientAnswer> answers;
  std::vector<Notice> notices;
};

struct ReplicaLimits {
  std::size_t parked_reads = 100'000;
  std::size_t open_writes = 100'000;
  std::size_t open_write_bytes = 128 << 20;  // of commands, until they are answered
  std::size_t log_bytes = 512 << 20;         // in memory; where snapshots cannot keep up, writes wait for them
  // Of what a snapshot holds, so much of the log stays in memory, for followers that are only a little behind.
  std::uint64_t kept_entries = 10'000;
  std::size_t kept_bytes = 8 << 20;
  std::size_t backups = 16;      // clients that read one
  std::size_t backup_parts = 4;  // that one of them has asked for and not got yet
};

struct ReplicaConfig {
  command::Member self;
  std::vector<std::string> names;  // of all members
  std::string new_cluster;         // the id of a cluster that this server forms
  std::string server;              // "kvd 1.0.0", for INIT_OK
  std::string preferred_leader;    // empty: none
  std::uint32_t heartbeat_ticks = 10;
  std::uint32_t election_ticks = 100;
  std::uint32_t delay_ticks = 0;                // --delay-replication
  std::uint64_t snapshot_every = 100'000;       // entries applied; then a snapshot is taken, where that is worth it
  std::size_t snapshot_log_bytes = 64 << 20;    // or so much log, if that comes first
  std::size_t snapshot_piece_bytes = 64 << 10;  // of the walk through the state, a turn
  std::uint64_t quota = 0;                      // the most bytes of keys and values; 0: no limit
  std::uint64_t seed = 0;
  ReplicaLimits limits;
  WatchLimits watch_limits;
  raft::Limits raft_limits;
  // Of write sessions' answers; part of the replicated state's meaning, so the same on all servers of a cluster.
  std::size_t sessions_kept = kv::sessions_kept;
};

// What the disk gave back at start.
struct ReplicaRestored {
  raft::HardState hard_state;
  std::vector<raft::Entry> entries;  // behind `base`
  raft::Index commit;
  raft::Position base = {};                // of the log
  std::unique_ptr<Store> store = nullptr;  // the state at `stored`, which is the base, unless ...
  raft::Position stored = {};
  bool lacks_state = false;         // ... what is between the two has been lost: see raft::Restored
  raft::Payload context = nullptr;  // then: the members
  std::optional<raft::SnapshotMark> mark_due = std::nullopt;
};

class Replica {
 public:
  // Applies everything up to the restored commit position. Throws std::runtime_error if the log holds a
  // command that this version does not know, or other members than `config.names`.
  Replica(ReplicaConfig config, ReplicaRestored restored);

  // ---- Inputs

  void tick();
  // Answered in some later Effects: exactly one final answer, unless the client is gone before.
  void request(ClientId client, message::Request&& request);
  void client_gone(ClientId client);
  // Whether a client takes what it is sent: watches of one that does not wait.
  void client_has_room(ClientId client, bool has_room) { watches_.client_has_room(client, has_room); }
  // From a peer that passed the roster's check, with its identity. False: it would not pass it any more, and
  // nothing has changed; its connection is to be closed.
  bool receive(PeerMessage message, const std::string& identity);
  // The link that this server opened to a peer is ready for use; or broke.
  void link_up(const message::PeerInitOk& answer);
  void link_down(const std::string& node);
  void written(std::uint64_t write_id);
  void snapshot_done(SnapshotResult result);
  // Whether the disk has room left for more than what must not fail. Without it writes that add get NO_SPACE.
  void disk_has_room(bool has_room);
  // Begins to stop: new requests get SHUTTING_DOWN, what is under way ends, leadership is handed over.
  void stop();
  // Answers everything that is still open, as truthfully as is possible now. After this only destruction.
  void abandon();

  Effects take_effects();

  // ---- What can be seen of it

  const Roster& roster() const { return roster_; }
  const raft::Raft& raft() const { return raft_; }
  const Store& store() const { return *store_; }
  raft::Position snapshot() const { return snapshot_; }  // the newest that is durable
  std::uint64_t applied() const { return applied_.value; }
  // After stop(): nothing is under way any more and somebody else may lead.
  bool is_quiet() const;
  // All of STATUS_OK but what only the host knows (connections, uptime, version).
  message::StatusOk status() const;
  // Of requests that are about to come: what answering them will need is fetched into the processor's caches.
  void fetch(std::span<const std::string_view> keys) const { store_->fetch_to_find(keys); }
  // Bytes of the values in answers that take_effects() would hand out: a session stops decoding requests
  // when there are many.
  std::size_t pending_answer_bytes() const { return pending_answer_bytes_; }
  // More entries, reads or events are due than one turn should answer: take effects again soon.
  bool has_more() const {
    return entry_is_due() || reads_are_due() || watches_.has_more() || (!queued_.empty() && raft_.is_forgetting());
  }

 private:
  // Where an answer goes: a client of this server, or a peer that forwarded for its own.
  struct ForClient {
    ClientId client = 0;
    std::uint64_t id = 0;
    std::uint64_t order = 0;  // of this server's writes: see route_again
  };
  struct ForPeer {
    raft::NodeId peer;
    std::uint64_t number = 0;
  };
  using Origin = std::variant<ForClient, ForPeer>;

  // The bytes of an open write, counted as long as it lives.
  class OpenBytes {
   public:
    OpenBytes(std::size_t& total, std::size_t bytes) : total_(&total), bytes_(bytes) { total += bytes; }
    OpenBytes(OpenBytes&& other) noexcept : total_(other.total_), bytes_(std::exchange(other.bytes_, 0)) {}
    OpenBytes& operator=(OpenBytes&& other) noexcept {
      std::swap(total_, other.total_);
      std::swap(bytes_, other.bytes_);
      return *this;
    }
    ~OpenBytes() { *total_ -= bytes_; }

   private:
    std::size_t* total_;
    std::size_t bytes_;
  };

  // A write that waits for a leader to be known.
  struct QueuedWrite {
    Origin origin;
    raft::Payload command;
    std::uint64_t deadline = 0;  // tick
    OpenBytes open;
  };
  // A write in this server's log whose fate is not known yet.
  struct ProposedWrite {
    raft::Position position;
    Origin origin;
    raft::Payload command;
    std::uint64_t deadline = 0;
    OpenBytes open;
    OpenBytes growth;  // that the data will have of it
  };
  // A write that another server has been asked to propose.
  struct ForwardedWrite {
    ForClient origin;
    raft::NodeId to;
    raft::Term term;  // in which `to` was asked
    raft::Payload command;
    std::uint64_t deadline = 0;
    OpenBytes open;
  };
  // A read that waits until `applied` reaches a position, or for a newer version of its key.
  struct ParkedRead {
    ClientId client = 0;
    std::uint64_t id = 0;
    std::variant<message::Get, message::List> asked;
    std::uint64_t deadline = 0;
    bool is_told = false;  // WAIT_FOR_RESPONSE

    const message::Get* get() const { return std::get_if<message::Get>(&asked); }
  };
  using ParkKey = std::pair<std::uint64_t, std::uint64_t>;  // position, number
  // A linearizable read, or a peer's question for one, whose position is not known yet.
  struct UnplacedRead {
    std::variant<ParkedRead, ForPeer> read;
    std::uint64_t deadline = 0;
  };
  struct WaitingInit {
    ClientId client = 0;
    std::uint64_t id = 0;
    std::string cluster;
    std::uint64_t deadline = 0;
  };
  struct Client {
    std::uint64_t last_routed = 0;  // order of the last write that left the queue
    std::set<ParkKey> parked;
    std::set<std::uint64_t> newer;         // numbers of its reads in newer_
    std::optional<raft::Position> backup;  // the snapshot that it reads
    std::size_t backup_parts = 0;          // of it, on their way from the disk
  };
  // A client that asked for the state of now, and gets it when a snapshot holds it.
  struct WaitingBackup {
    ClientId client = 0;
    std::uint64_t id = 0;
    std::uint64_t least = 0;  // position
    std::uint64_t deadline = 0;
  };
  // A snapshot of this server's state that is being written.
  struct Saving {
    raft::Position position;
    raft::Payload context;
    std::uint64_t since = 0;  // tick
    LogPace pace;             // of what this server, leading, appends meanwhile
    std::uint64_t items = 0;  // bytes of its file that keys and values take
    bool begun = false;
    bool walked = false;        // all of it
    std::size_t parts = 0;      // on their way to the disk
    std::uint64_t bytes = 0;    // walked so far
    std::uint64_t written = 0;  // bytes of its file
  };
  // A snapshot on its way to a follower.
  struct Sending {
    raft::Position position;
    std::uint64_t offset = 0;
    std::uint64_t since = 0;  // tick
  };

  // replica.cpp
  template <class Body>
  void answer(ClientId client, std::uint64_t id, Body&& body) {
    ClientAnswer& answer = effects_.answers.emplace_back();
    answer.client = client;
    answer.answer.id = id;
    answer.answer.body.template emplace<std::remove_cvref_t<Body>>(std::forward<Body>(body));
  }
  void refuse(ClientId client, std::uint64_t id, message::Code code, std::string text);
  void notice(Notice::Level level, std::string text);
  void absorb(raft::Output output);
  void on_changed(const raft::Output::Changed& changed);
  void watch_first_entry(const raft::Write& write);
  bool entry_is_due() const { return !to_apply_.empty() && to_apply_.front().tick <= now_; }
  std::size_t fetch_entries();
  void apply_due();
  void apply(const raft::Entry& entry);
  void note_members(const command::Members& members);
  void expire();
  std::uint64_t deadline_of(const std::optional<std::uint64_t>& timeout_ms) const;
  std::uint64_t ticks_late() const;
  std::size_t open_requests() const;
  void expect(std::uint64_t deadline) { next_deadline_ = std::min(next_deadline_, deadline); }

  // replica_members.cpp
  void init(ClientId client, message::Request& request);
  void answer_init(ClientId client, std::uint64_t id, const std::string& remembered);
  void keep_members_current();
  void hand_over();
  void keep_preferred_leader();
  void note_preferred_loss();

  // replica_writes.cpp
  void write(ClientId client, const message::Request& request, const command::Command& asked);
  void receive_forward(const raft::NodeId& from, message::Forward& forward);
  void receive_forward_ok(const raft::NodeId& from, message::ForwardOk& answer);
  bool has_room_for(const raft::Payload& command) const;
  std::uint64_t told_of_queue_at(const Origin& origin, std::uint64_t deadline) const;
  void enqueue(Origin origin, raft::Payload command, std::uint64_t deadline);
  void route_writes();
  std::size_t count_proposable();
  void fetch_queued(std::size_t count) const;
  void propose_queued();
  void note_proposed(ProposedWrite write);
  void forward_queued(const raft::NodeId& leader);
  void settle_writes(const raft::Entry& entry, const command::Command* command, const Outcome* outcome);
  void route_again(const ForClient& origin, raft::Payload command, std::uint64_t deadline, OpenBytes open);
  void note_refusal(const raft::NodeId& by, raft::Term term);
  void answer_write(const Origin& origin, const command::Command& command, const Outcome& outcome);
  void fail_write(const Origin& origin, message::Code code, std::string text);
  void fail_forwarded_to(const std::string& node);
  void expire_writes();

  // replica_room.cpp
  bool has_room() const;
  bool may_add() const;
  std::string what_has_no_room() const;
  bool log_is_long() const;
  double part_saved() const;
  bool log_takes_more(std::size_t bytes);
  std::uint64_t growth_of(std::string_view key, std::size_t value_bytes) const;
  std::uint64_t growth_of(const command::Command& command) const;
  void look_at_room();
  void look_at_disk();
  std::string what_hangs() const;
  std::string why_no_leader() const;

  // replica_snapshots.cpp
  void want(SnapshotTask task);
  bool snapshot_is_due() const;
  bool snapshot_is_pressing() const;
  std::uint64_t turn_of(raft::Index position) const;
  std::uint64_t worthwhile_log_bytes() const;
  void note_log(const raft::Entry& entry);
  void count_log_anew();
  double way_to_next_snapshot(std::uint64_t entries) const;
  void begin_saving();
  void keep_saving();
  void give_up_older_snapshots();
  void save_next_part();
  bool next_part_is_due() const;
  void on_done(snapshot_result::Saved& saved);
  void on_done(snapshot_result::NotSaved& not_saved);
  void on_done(snapshot_result::Piece& piece);
  void on_done(snapshot_result::Received& received);
  void on_done(snapshot_result::MadeRoom& made_room);
  raft::Index forgettable() const;
  raft::Index least_snapshot_for(const raft::Progress& progress) const;
  void feed_snapshots();
  void read_next(const std::string& peer, Sending& sending);
  void stop_sending(const std::string& peer);
  void receive_snapshot(const raft::NodeId& from, message::Snapshot& part);
  void receive_snapshot_ok(const raft::NodeId& from, const message::SnapshotOk& answer);
  void install(raft::Position position, std::unique_ptr<Store> store);
  void backup(ClientId client, message::Request& request, const message::Backup& asked);
  void serve_backups();
  void expire_backups();

  // replica_watches.cpp
  void watch(ClientId client, message::Request& request, const message::Watch& asked);
  void cancel(ClientId client, message::Request& request, const message::Cancel& asked);
  void note_changes(std::uint64_t position, Changes changes);

  // replica_reads.cpp
  template <class Asked>
  void read(ClientId client, message::Request& request, Asked&& asked);
  void read_session(ParkedRead&& read, std::uint64_t ts);
  void answer_read(ParkedRead&& read);
  void answer_get(const ParkedRead& read, const message::Get& get);
  void answer_list(const ParkedRead& read, const message::List& list);
  void tell_of_wait(ParkedRead& read, std::uint64_t ts);
  bool is_newer(const message::Get& get) const;
  void wait_for_newer(ParkedRead read);
  void wake_newer(std::string_view key);
  void wake_all_newer();
  void park_newer(std::map<std::uint64_t, ParkedRead>::node_type read);
  void forget_newer(std::uint64_t number);
  void fail_newer(const ParkedRead& read);
  bool reads_are_due() const { return !parked_.empty() && parked_.begin()->first.first <= applied_.value; }
  bool refuse_if_too_many(const ParkedRead& read);
  void park(std::uint64_t position, ParkedRead read);
  void wake_reads();
  void place_reads();
  void place(UnplacedRead unplaced, std::uint64_t index);
  void ask_leader_again();
  void drop_read(std::uint64_t number);
  void fail_read(const ParkedRead& read, std::uint64_t position);
  void expire_reads();
  std::size_t waiting_reads() const;
  // Where this server may send what only a leader can do: nullopt while none is known that is linked and has
  // not already said that it does not lead.
  std::optional<raft::NodeId> reachable_leader() const;

  ReplicaConfig config_;
  Roster roster_;
  raft::Raft raft_;
  std::unique_ptr<Store> store_;
  std::uint64_t now_ = 0;                     // ticks
  std::uint64_t next_deadline_ = UINT64_MAX;  // no open request ends before this tick
  std::uint64_t next_number_ = 1;
  bool stopping_ = false;
  bool disk_has_room_ = true;  // for the log
  bool snapshot_fits_ = true;  // on the disk, as the last one has shown
  bool disk_hung_ = false;
  bool majority_has_room_ = true;  // as far as the leader knows
  bool quota_warned_ = false;

  // Applying.
  struct Due {
    raft::Entry entry;
    std::uint64_t tick = 0;
  };
  std::deque<Due> to_apply_;
  raft::Index applied_;
  raft::Term applied_term_;
  raft::Index first_entry_;  // where the cluster begins, if this server has no members from a snapshot
  bool members_proposed_ = false;

  // Snapshots.
  raft::Position snapshot_;
  std::size_t log_bytes_since_snapshot_ = 0;
  std::optional<raft::Index> worthwhile_from_;  // where there was enough of it for the next one
  bool snapshot_wanted_ = false;                // by a follower or for a backup
  bool snapshot_is_bad_ = false;                // a follower has found the newest damaged
  std::uint64_t next_snapshot_tick_ = 0;        // not before
  std::uint64_t rest_until_ = 0;                // nor before this, unless the log is long
  std::optional<Saving> saving_;
  std::uint64_t snapshot_bytes_beside_items_ = 0;  // in the newest: sessions, deletions
  std::map<std::string, Sending> sending_;         // by peer
  bool receiving_ = false;                         // a part is on its way to the disk
  std::vector<WaitingBackup> waiting_backups_;

  // Writes.
  std::size_t open_write_bytes_ = 0;  // before those that are counted in it
  std::size_t growth_ = 0;            // likewise
  std::deque<QueuedWrite> queued_;
  bool waits_for_log_ = false;                           // some of it, as this server leads
  std::deque<ProposedWrite> proposed_;                   // by position; at one there may be some of several terms
  std::multimap<raft::Index, OpenBytes> growth_in_log_;  // of writes for which nobody waits any more
  std::map<std::uint64_t, ForwardedWrite> forwarded_;    // by number
  // Who said, and of which term, that it does not lead: it never will again in that term.
  raft::NodeId refused_by_;
  raft::Term refused_in_;

  // Reads.
  std::map<ParkKey, ParkedRead> parked_;
  std::map<std::uint64_t, ParkedRead> newer_;  // those that wait for a newer version, by number
  std::map<std::string, std::set<std::uint64_t>, std::less<>> newer_by_key_;
  std::map<std::uint64_t, UnplacedRead> unplaced_;      // by number; not asked about yet
  std::map<std::uint64_t, UnplacedRead> asked_raft_;    // by number: raft's read id
  std::map<std::uint64_t, UnplacedRead> asked_leader_;  // the batch of question_
  struct Question {
    std::uint64_t number = 0;  // of the FORWARD under way
    raft::NodeId to;
    raft::Term term;
    std::uint64_t tick = 0;
  };
  std::optional<Question> question_;

  std::vector<WaitingInit> waiting_inits_;
  std::unordered_map<ClientId, Client> clients_;
  Watches watches_;

  raft::NodeId known_leader_;  // now; empty: nobody

  // The preferred leader.
  raft::NodeId last_leader_;  // the last one that was known
  std::uint64_t preferred_ready_ticks_ = 0;
  static constexpr std::uint64_t preferred_wait = 1000 / tick_ms;  // caught up for so long, then it may lead again
  static constexpr std::uint64_t preferred_wait_most = 64 * preferred_wait;
  std::uint64_t preferred_wait_ticks_ = preferred_wait;
  std::uint64_t preferred_lost_at_ = 0;
  bool preferred_asked_ = false;  // and it is not known yet whether it leads

  std::vector<raft::Envelope> held_;  // leave when the write under way is durable
  Effects effects_;
  static constexpr std::size_t answer_bytes_a_turn = 1 << 20;  // of reads' values, and of transactions' results
  std::size_t pending_answer_bytes_ = 0;                       // of reads
  std::size_t result_bytes_ = 0;                               // of transactions
};

}  // namespace kv

#include "client/backup_fetch.hpp"

#include <algorithm>
#include <utility>

#include "common/text.hpp"

namespace kv::client {
namespace {

using std::chrono::milliseconds;

constexpr std::size_t parts_at_once = 4;  // as many as a server allows
constexpr unsigned max_attempts = 20;     // that reached a server
constexpr milliseconds between_attempts{200};
constexpr milliseconds longest_silence{5000};

Failure failure_at(const ServerPool::ServerPtr& server, std::string why) {
  Failure failure;
  failure.kind = Failure::Kind::no_answer;
  failure.where = server->link->name();
  failure.node = server->link->hello().node;
  failure.why = std::move(why);
  return failure;
}

}  // namespace

BackupFetch::BackupFetch(Client& client, std::shared_ptr<Call> call, FetchOptions options, NewFile& file,
                         Progress& progress)
    : client_(client),
      call_(std::move(call)),
      options_(std::move(options)),
      file_(file),
      progress_(progress),
      // So that a server which cannot get there leaves time for others.
      begin_patience_(std::max(options_.patience / 3, milliseconds{1})),
      part_patience_(std::min(longest_silence, begin_patience_)),
      give_up_at_(Clock::now() + options_.patience) {}

asio::awaitable<std::variant<Fetched, Ending>> BackupFetch::run() {
  Failure last;
  bool reached = false;
  for (unsigned attempts = 0; attempts < max_attempts;) {
    call_->set_deadline(give_up_at_);
    const ServerPtr server = co_await client_.servers().reach(call_);
    if (server) {
      reached = true;
      ++attempts;
      Result result = co_await take_from(server);
      server->link->close("the backup has ended");  // its place at the server is free again
      if (auto* fetched = std::get_if<Fetched>(&result)) co_return std::move(*fetched);
      if (auto* ending = std::get_if<Ending>(&result)) co_return std::move(*ending);
      last = std::get<Again>(std::move(result)).why;
    } else if (!reached) {
      last = client_.servers().no_server();
      if (!client_.servers().may_come_back()) break;
    }
    if (call_->interrupted() || Clock::now() >= give_up_at_) break;
    co_await pause(between_attempts);
  }
  co_return give_up(last);
}

asio::awaitable<void> BackupFetch::pause(milliseconds length) {
  const Clock::time_point until = std::min(Clock::now() + length, give_up_at_);
  while (!call_->interrupted() && Clock::now() < until) co_await call_->wait(until);
}

Ending BackupFetch::give_up(const Failure& failure) const {
  Failure why = failure;
  if (call_->interrupted()) why.kind = Failure::Kind::interrupted;
  return {exit_of(why), describe(options_.what, why)};
}

void BackupFetch::ask(Transfer& transfer, message::Backup request) {
  message::Request asked;
  asked.timeout_ms = static_cast<std::uint64_t>(begin_patience_.count());
  asked.cluster = client_.cluster();
  asked.body = request;
  transfer.link->ask(std::move(asked), call_);
  ++transfer.under_way;
}

void BackupFetch::ask_for_more(Transfer& transfer) {
  // A part that was shorter than the others has left a gap: what is behind it comes again.
  if (transfer.under_way == 0 && transfer.written < transfer.asked_up_to) {
    transfer.too_soon.clear();
    transfer.asked_up_to = transfer.written;
  }
  while (transfer.under_way < parts_at_once && transfer.asked_up_to < transfer.size) {
    ask(transfer, {0, transfer.snapshot, transfer.asked_up_to});
    transfer.asked_up_to = std::min(transfer.asked_up_to + transfer.part_bytes, transfer.size);
  }
}

// ---- One server ----------------------------------------------------------------------------------------

asio::awaitable<BackupFetch::Result> BackupFetch::take_from(ServerPtr server) {
  if (auto problem = file_.clear()) co_return Ending{Exit::usage, options_.what + ": " + problem->text};
  Transfer transfer;
  transfer.link = server->link;
  call_->begin_attempt();
  ask(transfer, {options_.ts, 0, 0});
  progress_.waiting("waiting for " + transfer.link->name());
  for (;;) {
    if (call_->interrupted()) co_return Again{failure_at(server, "")};
    if (std::optional<message::Answer> answer = call_->take()) {
      std::optional<Result> result = take_answer(std::move(*answer), server, transfer);
      if (result) co_return std::move(*result);
      continue;
    }
    if (call_->lost()) co_return lost(server, *call_->lost());
    const milliseconds patience = transfer.size == 0 ? begin_patience_ + client_.answer_grace() : part_patience_;
    const Clock::time_point until = transfer.silent_since + patience;
    if (Clock::now() >= until) co_return lost(server, "nothing came for " + format_duration(patience));
    co_await call_->wait(until);
  }
}

std::optional<BackupFetch::Result> BackupFetch::take_answer(message::Answer answer, const ServerPtr& server,
                                                            Transfer& transfer) {
  --transfer.under_way;
  if (auto* error = std::get_if<message::Error>(&answer.body)) return judge(std::move(*error), server);
  auto* part = std::get_if<message::BackupOk>(&answer.body);
  if (!part) return nonsense(server, "it answered something else than was asked");
  transfer.silent_since = Clock::now();
  give_up_at_ = transfer.silent_since + options_.patience;
  return take_part(std::move(*part), server, transfer);
}

std::optional<BackupFetch::Result> BackupFetch::take_part(message::BackupOk part, const ServerPtr& server,
                                                          Transfer& transfer) {
  if (transfer.size == 0) {
    transfer.snapshot = part.snapshot;
    transfer.size = part.size;
    transfer.part_bytes = transfer.asked_up_to = part.bytes.size();
    if (part.snapshot < options_.ts) return nonsense(server, "its backup is older than was asked for");
    if (part.offset != 0) return nonsense(server, "its backup does not begin at its beginning");
  }
  const bool fits = part.snapshot == transfer.snapshot && part.size == transfer.size && !part.bytes.empty() &&
                    part.offset <= part.size && part.bytes.size() <= part.size - part.offset;
  if (!fits) return nonsense(server, "the parts of its backup do not fit together");
  if (part.offset >= transfer.written) transfer.too_soon.insert_or_assign(part.offset, std::move(part.bytes));
  for (auto next = transfer.too_soon.find(transfer.written); next != transfer.too_soon.end();
       next = transfer.too_soon.find(transfer.written)) {
    const std::string bytes = std::move(next->second);
    transfer.too_soon.erase(next);
    if (auto result = take_bytes(bytes, server, transfer)) return result;
  }
  progress_.bytes(transfer.written, transfer.size);
  if (transfer.written == transfer.size) return finish(server, transfer);
  ask_for_more(transfer);
  return std::nullopt;
}

std::optional<BackupFetch::Result> BackupFetch::take_bytes(const std::string& bytes, const ServerPtr& server,
                                                           Transfer& transfer) {
  if (auto problem = transfer.check.take(bytes)) return damaged(*problem, server);
  if (auto problem = file_.append(bytes)) return Ending{Exit::usage, options_.what + ": " + problem->text};
  transfer.written += bytes.size();
  return std::nullopt;
}

std::optional<BackupFetch::Result> BackupFetch::finish(const ServerPtr& server, Transfer& transfer) {
  if (auto problem = transfer.check.finish()) return damaged(*problem, server);
  const BackupSummary& summary = transfer.check.summary();
  if (summary.header.index != transfer.snapshot) return nonsense(server, "its backup is of another position");
  return Fetched{summary, server->link->hello().node};
}

// ---- What can go wrong ---------------------------------------------------------------------------------

std::optional<BackupFetch::Result> BackupFetch::judge(message::Error error, const ServerPtr& server) {
  const message::Code code = error.code;
  Failure failure = failure_at(server, "");
  failure.kind = Failure::Kind::refused;
  failure.error = std::move(error);
  if (code == message::Code::compacted) return Again{std::move(failure)};
  if (may_help_to_retry(code) || code == message::Code::timeout) {
    client_.servers().avoid(server);
    return Again{std::move(failure)};
  }
  return give_up(failure);
}

BackupFetch::Result BackupFetch::lost(const ServerPtr& server, std::string why) {
  server->link->close(why);  // if it hangs
  client_.servers().note_failure(server);
  return Again{failure_at(server, std::move(why))};
}

BackupFetch::Result BackupFetch::nonsense(const ServerPtr& server, const std::string& what) {
  return lost(server, "not a kvd of this version: " + what);
}

BackupFetch::Result BackupFetch::damaged(const BackupCheck::Problem& problem, const ServerPtr& server) {
  const std::string what =
      "it sent a damaged backup: at offset " + std::to_string(problem.offset) + ": " + escape_control(problem.what);
  // That of each server is another one; when all were tried there is no point in more.
  if (++damaged_ < std::max<std::size_t>(client_.server_count(), 2)) return lost(server, what);
  return Ending{Exit::refused, options_.what + ": " + server->link->name() + ": " + what +
                                   "; so was every other one that came: look at the servers' disks"};
}

}  // namespace kv::client

#include "client/backup.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "client/progress.hpp"
#include "common/table.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

constexpr std::chrono::milliseconds default_patience{60'000};
constexpr std::size_t read_bytes = 1 << 20;

using Lines = std::vector<std::pair<std::string, std::string>>;

std::string members_text(const snapshot::Members& members) {
  if (members.members.empty()) return "none yet";
  std::string text;
  for (const snapshot::Member& member : members.members) {
    text += (text.empty() ? "" : ", ") + escape_control(member.node) + " " + escape_control(member.client_address);
  }
  return text;
}

std::string with_size(std::uint64_t bytes) {
  const std::string size = format_size(bytes);
  return std::to_string(bytes) + (bytes < 1024 ? "" : " (" + size + ")");
}

Lines describe(const BackupSummary& summary) {
  return {{"position", std::to_string(summary.header.index)},
          {"term", std::to_string(summary.header.term)},
          {"cluster", summary.members.cluster.empty() ? "none yet" : escape_control(summary.members.cluster)},
          {"members", members_text(summary.members)},
          {"keys", std::to_string(summary.totals.keys)},
          {"bytes", with_size(summary.totals.bytes)},
          {"sessions", std::to_string(summary.sessions)},
          {"digest", snapshot::digest_text(summary.totals.digest)},
          {"file size", with_size(summary.size)}};
}

std::string members_json(const snapshot::Members& members) {
  std::string json = "[";
  for (const snapshot::Member& member : members.members) {
    JsonLine line;
    line.add("node", member.node).add("address", member.client_address);
    json += (json.size() > 1 ? "," : "") + line.text();
  }
  return json + "]";
}

std::string json_of(const std::string& file, const BackupSummary& summary, const std::string& node) {
  JsonLine line;
  line.add("file", file).add("position", summary.header.index).add("term", summary.header.term);
  line.add("cluster", summary.members.cluster).add_json("members", members_json(summary.members));
  line.add("keys", summary.totals.keys).add("bytes", summary.totals.bytes).add("sessions", summary.sessions);
  line.add("digest", snapshot::digest_text(summary.totals.digest)).add("file_size", summary.size);
  if (!node.empty()) line.add("node", node);
  return line.text() + "\n";
}

// `headline` and then what the backup says of itself; or a table, or JSON.
std::string text_of(const Context& context, const std::string& headline, const std::string& file,
                    const BackupSummary& summary, const std::string& node = "") {
  if (context.options.format == Format::json) return json_of(file, summary, node);
  if (context.options.format == Format::table) {
    Table table({"BACKUP", file == "-" ? "standard output" : escape_control(file)});
    for (const auto& [name, value] : describe(summary)) table.add({name, value});
    return table.text(context.printer.out_is_terminal());
  }
  std::string text = headline + "\n";
  for (const auto& [name, value] : describe(summary))
    text += "  " + name + std::string(11 - name.size(), ' ') + value + "\n";
  return text;
}

Exit end(Context& context, const Ending& ending) {
  context.printer.error(ending.text);
  return ending.exit;
}

Exit end(Context& context, const std::string& what, const FileProblem& problem) {
  context.printer.error(what + ": " + problem.text);
  return Exit::usage;
}

// All of the file to standard output.
std::optional<FileProblem> copy_out(Context& context, const NewFile& file) {
  for (std::uint64_t offset = 0;;) {
    std::variant<std::string, FileProblem> piece = file.read(offset, read_bytes);
    if (auto* problem = std::get_if<FileProblem>(&piece)) return std::move(*problem);
    const std::string& bytes = std::get<std::string>(piece);
    if (bytes.empty()) return std::nullopt;
    context.printer.text(bytes);
    if (!context.printer.flush()) return std::nullopt;  // which is told when the command has ended
    offset += bytes.size();
  }
}

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

Ending cannot_read(const std::string& what, const std::string& path) {
  return {Exit::usage,
          what + ": cannot read the file " + name_of_file(path) + ": " + std::generic_category().message(errno)};
}

Ending damaged(const std::string& what, const std::string& path, const BackupCheck::Problem& problem) {
  return {Exit::negative, what + ": the file " + name_of_file(path) + " is damaged at offset " +
                              std::to_string(problem.offset) + ": " + escape_control(problem.what) +
                              "; use another backup, or save a new one"};
}

}  // namespace

std::chrono::milliseconds patience_of(const GlobalOptions& options) {
  return options.timeout_given ? options.timeout : default_patience;
}

asio::awaitable<std::variant<Fetched, Ending>> fetch_backup(Context& context, std::shared_ptr<Call> call,
                                                            std::string what, NewFile& file) {
  const Outcome connected = co_await context.client.connect(call);
  if (const auto* failure = std::get_if<Failure>(&connected)) {
    co_return Ending{exit_of(*failure), describe(what, *failure)};
  }
  context.session.attach(context.client.cluster());
  Progress progress(context.printer, what);
  FetchOptions options;
  options.what = std::move(what);
  options.ts = context.session.highest_position();
  options.patience = patience_of(context.options);
  BackupFetch fetch(context.client, std::move(call), std::move(options), file, progress);
  co_return co_await fetch.run();
}

asio::awaitable<std::optional<Ending>> read_backup(std::shared_ptr<Call> call, std::string what, std::string path,
                                                   BackupCheck& check) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) co_return cannot_read(what, path);
  std::string piece(read_bytes, '\0');
  for (;;) {
    const ssize_t count = ::read(file.fd, piece.data(), piece.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) co_return cannot_read(what, path);
    const std::string_view bytes = std::string_view(piece).substr(0, static_cast<std::size_t>(count));
    std::optional<BackupCheck::Problem> problem = bytes.empty() ? check.finish() : check.take(bytes);
    if (problem) co_return damaged(what, path, *problem);
    if (bytes.empty()) co_return std::nullopt;
    co_await call->wait(Clock::now());
    if (call->interrupted()) co_return Ending{Exit::interrupted, what + ": interrupted"};
  }
}

asio::awaitable<Exit> backup_save(Context& context, BackupSaveCommand command) {
  const std::string what = "backup save";
  const bool to_output = command.file == "-";
  if (to_output && context.printer.out_is_terminal()) {
    context.printer.error(what + ": a backup is not for a terminal: name a file, or send it into a pipe");
    co_return Exit::usage;
  }
  std::variant<NewFile, FileProblem> opened =
      to_output ? NewFile::unnamed() : NewFile::beside(command.file, command.force);
  if (const auto* problem = std::get_if<FileProblem>(&opened)) co_return end(context, what, *problem);
  NewFile& file = std::get<NewFile>(opened);

  const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);
  std::variant<Fetched, Ending> result = co_await fetch_backup(context, call, what, file);
  if (const auto* ending = std::get_if<Ending>(&result)) co_return end(context, *ending);
  const Fetched& fetched = std::get<Fetched>(result);

  const std::optional<FileProblem> problem = to_output ? copy_out(context, file) : file.publish();
  if (problem) co_return end(context, what, *problem);
  if (to_output && !context.printer.flush()) co_return Exit::done;  // which is told when the command has ended
  const std::string headline =
      to_output ? "saved, from " + escape_control(fetched.node)
                : "saved " + escape_control(command.file, 4096) + ", from " + escape_control(fetched.node);
  const std::string text = text_of(context, headline, command.file, fetched.summary, fetched.node);
  if (to_output) {
    context.printer.remark(text);
  } else {
    context.printer.text(text);
  }
  co_return Exit::done;
}

asio::awaitable<Exit> backup_verify(Context& context, BackupVerifyCommand command) {
  const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);
  BackupCheck check;
  const std::optional<Ending> ending = co_await read_backup(call, "backup verify", command.file, check);
  if (ending) co_return end(context, *ending);
  const std::string headline = escape_control(command.file, 4096) + " is whole";
  context.printer.text(text_of(context, headline, command.file, check.summary()));
  co_return Exit::done;
}

}  // namespace kv::client

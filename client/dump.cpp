#include "client/dump.hpp"

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "client/backup.hpp"
#include "client/backup_check.hpp"
#include "client/new_file.hpp"
#include "common/table.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

constexpr std::size_t write_at = 256 << 10;
constexpr std::size_t read_bytes = 1 << 20;
const std::string what = "dump";

// Where the lines go: a file that is not there before it is whole, or standard output.
class Lines {
 public:
  Lines(Context& context, NewFile* file, std::string prefix)
      : context_(context), file_(file), prefix_(std::move(prefix)) {}

  void add(const snapshot::Item& item) {
    if (problem_ || !item.key.starts_with(prefix_)) return;
    ++items_;
    bytes_ += item.key.size() + item.value.size();
    JsonLine line;
    line.add("key", item.key).add_value(item.value).add("ts", item.ts);
    pending_ += line.text();
    pending_ += '\n';
    if (pending_.size() >= write_at) write();
  }

  void write() {
    if (problem_ || pending_.empty()) return;
    if (file_) {
      problem_ = file_->append(pending_);
    } else {
      context_.printer.text(pending_);
      if (!context_.printer.flush()) problem_ = FileProblem{"cannot write to standard output"};
    }
    pending_.clear();
  }

  const std::optional<FileProblem>& problem() const { return problem_; }
  std::uint64_t items() const { return items_; }
  std::uint64_t bytes() const { return bytes_; }

 private:
  Context& context_;
  NewFile* file_;  // nullptr: standard output
  std::string prefix_;
  std::string pending_;
  std::uint64_t items_ = 0;
  std::uint64_t bytes_ = 0;
  std::optional<FileProblem> problem_;
};

std::optional<Ending> problem_of(const Lines& lines) {
  if (!lines.problem()) return std::nullopt;
  return Ending{Exit::usage, what + ": " + lines.problem()->text};
}

// All of the backup that has been fetched, which is known to be whole.
asio::awaitable<std::optional<Ending>> read_fetched(std::shared_ptr<Call> call, const NewFile& file,
                                                    BackupCheck& check, const Lines& lines) {
  for (std::uint64_t offset = 0;;) {
    std::variant<std::string, FileProblem> piece = file.read(offset, read_bytes);
    if (const auto* problem = std::get_if<FileProblem>(&piece))
      co_return Ending{Exit::usage, what + ": " + problem->text};
    const std::string& bytes = std::get<std::string>(piece);
    const auto damage = bytes.empty() ? check.finish() : check.take(bytes);
    if (damage) co_return Ending{Exit::usage, what + ": the temporary file has changed: " + damage->what};
    if (bytes.empty()) co_return std::nullopt;
    offset += bytes.size();
    if (auto problem = problem_of(lines)) co_return problem;
    co_await call->wait(Clock::now());
    if (call->interrupted()) co_return Ending{Exit::interrupted, what + ": interrupted"};
  }
}

asio::awaitable<std::optional<Ending>> dump_cluster(Context& context, std::shared_ptr<Call> call,
                                                    BackupCheck& check, const Lines& lines) {
  std::variant<NewFile, FileProblem> opened = NewFile::unnamed();
  if (const auto* problem = std::get_if<FileProblem>(&opened))
    co_return Ending{Exit::usage, what + ": " + problem->text};
  NewFile& file = std::get<NewFile>(opened);
  std::variant<Fetched, Ending> fetched = co_await fetch_backup(context, call, what, file);
  if (auto* ending = std::get_if<Ending>(&fetched)) co_return std::move(*ending);
  co_return co_await read_fetched(call, file, check, lines);
}

// Beside the lines, so only where they go into a file.
void tell(Context& context, const DumpCommand& command, const Lines& lines, const BackupSummary& summary) {
  if (context.options.format == Format::json) {
    JsonLine line;
    line.add("file", command.file).add("items", lines.items()).add("bytes", lines.bytes());
    line.add("position", summary.header.index).add("cluster", summary.members.cluster);
    return context.printer.text(line.text() + "\n");
  }
  context.printer.text("dumped " + std::to_string(lines.items()) + (lines.items() == 1 ? " item" : " items") +
                       " (" + format_size(lines.bytes()) + ") of position " + std::to_string(summary.header.index) +
                       " to " + escape_control(command.file, 4096) + "\n");
}

}  // namespace

asio::awaitable<Exit> dump(Context& context, DumpCommand command) {
  std::optional<NewFile> file;
  if (command.file != "-") {
    std::variant<NewFile, FileProblem> opened = NewFile::beside(command.file, command.force);
    if (const auto* problem = std::get_if<FileProblem>(&opened)) {
      context.printer.error(what + ": " + problem->text);
      co_return Exit::usage;
    }
    file.emplace(std::get<NewFile>(std::move(opened)));
  }
  const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);
  Lines lines(context, file ? &*file : nullptr, command.prefix);
  BackupCheck check([&lines](const snapshot::Item& item) { lines.add(item); });
  std::optional<Ending> ending;
  if (command.from.empty()) {
    ending = co_await dump_cluster(context, call, check, lines);
  } else {
    ending = co_await read_backup(call, what, command.from, check);
  }
  lines.write();
  if (!ending) ending = problem_of(lines);
  if (!ending && file) {
    if (const auto problem = file->publish()) ending = Ending{Exit::usage, what + ": " + problem->text};
  }
  if (ending) {
    context.printer.error(ending->text);
    co_return ending->exit;
  }
  if (file) tell(context, command, lines, check.summary());
  co_return Exit::done;
}

}  // namespace kv::client

#include "client/load.hpp"

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>

#include "client/backup.hpp"
#include "client/bulk_writer.hpp"
#include "client/progress.hpp"
#include "common/item_line.hpp"
#include "common/table.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

// So many lines that could not be loaded are told one by one.
constexpr std::uint64_t most_told = 20;

class Load {
 public:
  Load(Context& context, LoadCommand command, InputLines input, std::shared_ptr<Call> call, std::uint64_t began_at)
      : context_(context),
        command_(std::move(command)),
        input_(std::move(input)),
        call_(std::move(call)),
        writer_(context.client, call_, began_at, options(context)),
        progress_(context.printer, "load") {}

  asio::awaitable<Exit> run() {
    for (;;) {
      take_lines();
      if (has_ended() && writer_.under_way() == 0) break;
      co_await writer_.step();
      for (BulkTrouble& trouble : writer_.take_troubles()) note(trouble);
      if (writer_.has_given_up()) break;
      progress_.items(writer_.written());
    }
    const bool interrupted = call_->interrupted();
    const bool gave_up = writer_.has_given_up();
    for (BulkTrouble& trouble : writer_.abandon()) note(trouble);
    context_.session.learn_for_all(writer_.written() > 0 ? writer_.highest_ts() : 0);
    co_return tell(interrupted, gave_up);
  }

 private:
  static BulkOptions options(const Context& context) {
    BulkOptions options;
    options.patience = patience_of(context.options);
    return options;
  }

  bool has_ended() const { return !next_ && (input_ended_ || stopped_at_ > 0); }

  // As many as may be under way now.
  void take_lines() {
    while (stopped_at_ == 0) {
      if (!next_ && !read_item()) return;
      if (!next_) continue;
      if (!writer_.can_take(*next_)) return;
      writer_.add(*std::exchange(next_, std::nullopt));
    }
    next_.reset();
  }

  // False: there is nothing more now. True without a next_: the line was none to be loaded.
  bool read_item() {
    if (input_ended_) return false;
    switch (input_.next(line_, call_, context_.io)) {
      case InputLines::Next::line:
        take_line();
        return true;
      case InputLines::Next::not_yet:
        return false;
      case InputLines::Next::end:
        break;
      case InputLines::Next::too_long:
        note_bad("it has more than " + format_size(InputLines::max_line_bytes) + ": is this a file of JSON lines?");
        stop();
        break;
      case InputLines::Next::failed:
        unreadable_ = true;
        complain(input_.problem());
        break;
    }
    input_ended_ = true;
    return false;
  }

  void take_line() {
    if (line_.find_first_not_of(" \t\r") == std::string::npos) return;
    std::variant<ItemLine, ItemLineProblem> parsed = parse_item_line(line_);
    if (const auto* problem = std::get_if<ItemLineProblem>(&parsed)) return note_bad(problem->text);
    ItemLine& item = std::get<ItemLine>(parsed);
    if (!item.key.starts_with(command_.prefix)) {
      ++filtered_;
      return;
    }
    next_ = BulkItem{input_.line_number(), std::move(item.key), std::move(item.value)};
  }

  void note_bad(const std::string& why) {
    ++bad_;
    complain(where(input_.line_number()) + ": " + why);
    if (!context_.options.keep_going) stop();
  }

  void note(const BulkTrouble& trouble) {
    const Failure& failure = trouble.failure;
    switch (failure.kind) {
      case Failure::Kind::unknown_outcome:
        ++unknown_;
        break;
      case Failure::Kind::refused:
        ++refused_;
        break;
      default:
        ++not_sent_;
        break;
    }
    if (call_->interrupted()) return;
    // When it has given up, one reason stands for all.
    const bool is_first = !std::exchange(told_failure_, true);
    if (!writer_.has_given_up() || is_first) {
      complain(describe(where(trouble.item.line) + ": put \"" + escape_control(trouble.item.key) + "\"", failure));
    }
    if (!context_.options.keep_going) stop();
  }

  void stop() {
    if (stopped_at_ == 0) stopped_at_ = std::max<std::uint64_t>(input_.line_number(), 1);
  }

  std::string where(std::uint64_t line) const { return input_.name() + ", line " + std::to_string(line); }

  void complain(const std::string& text) {
    if (++told_ <= most_told) context_.printer.error("load: " + text);
    if (told_ == most_told + 1) context_.printer.error("load: further ones are only counted");
  }

  Exit tell(bool interrupted, bool gave_up) {
    context_.printer.progress("");
    const std::uint64_t loaded = writer_.written();
    if (context_.options.format == Format::json) {
      JsonLine line;
      line.add("loaded", loaded).add("filtered", filtered_).add("bad", bad_).add("refused", refused_);
      line.add("unknown", unknown_).add("not_sent", not_sent_);
      context_.printer.text(line.add("whole", is_whole(interrupted)).text() + "\n");
    } else {
      context_.printer.text(summary(loaded));
    }
    if (interrupted) {
      context_.printer.error("load: interrupted" + (unknown_ > 0 ? unknown_text() : std::string()));
    } else if (stopped_at_ > 0 && !gave_up) {
      context_.printer.error(
          "load: stopped; --keep-going goes on after such a line. To load a line again does no "
          "harm while nobody else writes these keys");
    } else if (gave_up) {
      context_.printer.error("load: given up" + (unknown_ > 0 ? unknown_text() : std::string()) +
                             "; look at kvctl status, then load it again");
    }
    return exit(interrupted);
  }

  bool is_whole(bool interrupted) const {
    return !interrupted && !unreadable_ && stopped_at_ == 0 && bad_ + refused_ + unknown_ + not_sent_ == 0;
  }

  std::string unknown_text() const {
    return "; of " + std::to_string(unknown_) + " items that were sent it is not known whether they were written";
  }

  std::string summary(std::uint64_t loaded) const {
    std::string text = "loaded " + std::to_string(loaded) + (loaded == 1 ? " item" : " items");
    const auto add = [&text](std::uint64_t count, const char* which) {
      if (count > 0) text += ", " + std::to_string(count) + which;
    };
    add(filtered_, " with another prefix");
    add(bad_, " bad");
    add(refused_, " refused");
    add(unknown_, " not known");
    add(not_sent_, " not written");
    return text + "\n";
  }

  Exit exit(bool interrupted) const {
    if (interrupted) return Exit::interrupted;
    if (unknown_ > 0) return Exit::unknown_outcome;
    if (refused_ + not_sent_ > 0) return Exit::refused;
    return bad_ > 0 || unreadable_ ? Exit::usage : Exit::done;
  }

  Context& context_;
  LoadCommand command_;
  InputLines input_;
  std::shared_ptr<Call> call_;
  BulkWriter writer_;
  Progress progress_;
  std::string line_;
  std::optional<BulkItem> next_;  // read, and waits for its turn
  bool input_ended_ = false;
  bool unreadable_ = false;
  bool told_failure_ = false;
  std::uint64_t stopped_at_ = 0;  // line; 0: it has not stopped
  std::uint64_t told_ = 0;
  std::uint64_t filtered_ = 0;
  std::uint64_t bad_ = 0;
  std::uint64_t refused_ = 0;
  std::uint64_t unknown_ = 0;
  std::uint64_t not_sent_ = 0;
};

}  // namespace

asio::awaitable<Exit> load(Context& context, LoadCommand command, InputLines input) {
  const std::shared_ptr<Call> call = context.client.new_call(context.options.timeout);
  const Outcome connected = co_await context.client.connect(call);
  if (const auto* failure = std::get_if<Failure>(&connected)) {
    context.printer.failure("load", *failure);
    co_return exit_of(*failure);
  }
  context.session.attach(context.client.cluster());
  const std::uint64_t began_at = std::get<message::InitOk>(std::get<Reply>(connected).body).applied;
  Load work(context, std::move(command), std::move(input), call, began_at);
  co_return co_await work.run();
}

}  // namespace kv::client

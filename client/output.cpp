#include "client/output.hpp"

#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "client/diagnosis.hpp"
#include "common/table.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

constexpr const char* bold = "1";
constexpr const char* red = "31";
constexpr const char* yellow = "33";
constexpr const char* green = "32";
// Of a value that the user has typed himself and is shown again.
constexpr std::size_t max_echo_bytes = 256;

// https://no-color.org: set and not empty.
bool colour_is_unwanted() {
  const char* variable = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return (variable != nullptr && variable[0] != '\0') ||
         (terminal != nullptr && std::string_view(terminal) == "dumb");
}

std::string number(std::uint64_t value) {
  return std::to_string(value);
}

std::string painted(bool colours, const char* code, const std::string& text) {
  return colours ? std::string("\x1b[") + code + "m" + text + "\x1b[0m" : text;
}

std::string peers_json(const std::vector<message::PeerStatus>& peers) {
  std::string json = "[";
  for (const message::PeerStatus& peer : peers) {
    JsonLine line;
    line.add("node", peer.node).add("match", peer.match).add("last_contact_ms", peer.last_contact_ms);
    json += (json.size() > 1 ? "," : "") + line.text();
  }
  return json + "]";
}

}  // namespace

std::string name_of_command(const char* command, const std::string& key) {
  return std::string(command) + " \"" + escape_control(key) + "\"";
}

Printer::Printer(Screen screen, Style style, const GlobalOptions& options)
    : screen_(screen), style_(style), format_(options.format), verbose_(options.verbose) {
  const bool wanted = !options.no_color && !colour_is_unwanted();
  colours_ = wanted && screen.out_is_terminal;
  err_colours_ = wanted && screen.err_is_terminal;
}

std::string Printer::shown(std::string_view text, std::size_t max_bytes) const {
  return screen_.out_is_terminal ? escape_control(text, max_bytes) : std::string(text);
}

std::string Printer::colour(const char* code, const std::string& text) const {
  return painted(colours_, code, text);
}

std::string Printer::verbose_tail(std::uint64_t ts, const Reply& reply) const {
  Token token;
  token.cluster = reply.cluster;
  token.ts = ts;
  return "ts=" + number(ts) + " node=" + escape_control(reply.node) + " token=" + escape_control(token_text(token));
}

void Printer::put_ok(const message::Put& put, const message::PutOk& ok, const Reply& reply) {
  Token token;
  token.cluster = reply.cluster;
  token.ts = ok.ts;
  if (format_ == Format::json) {
    JsonLine line;
    line.add("key", put.key).add("ts", ok.ts).add("node", reply.node).add("token", token_text(token));
    screen_.out << line.text() << "\n";
  } else if (format_ == Format::table) {
    Table table({"KEY", "TS", "NODE"});
    table.add({escape_control(put.key), number(ok.ts), escape_control(reply.node)});
    screen_.out << table.text(screen_.out_is_terminal);
  } else if (style_ == Style::shell) {
    screen_.out << colour(green, "PUT_OK") << " " << shown(put.key) << " = " << shown(put.value, max_echo_bytes)
                << "   ts " << ok.ts << "   " << shown(reply.node);
    if (verbose_) screen_.out << "   " << token_text(token);
    screen_.out << "\n";
  } else {
    screen_.out << "OK" << (verbose_ ? " " + verbose_tail(ok.ts, reply) : "") << "\n";
  }
}

void Printer::delete_ok(const message::DeleteOk& ok, const Reply& reply) {
  if (format_ == Format::json) {
    JsonLine line;
    line.add("key", ok.key).add("found", ok.found).add("ts", ok.ts).add("node", reply.node);
    screen_.out << line.text() << "\n";
  } else if (format_ == Format::table) {
    Table table({"KEY", "FOUND", "TS", "NODE"});
    table.add({escape_control(ok.key), ok.found ? "yes" : "no", number(ok.ts), escape_control(reply.node)});
    screen_.out << table.text(screen_.out_is_terminal);
  } else if (style_ == Style::shell) {
    screen_.out << colour(green, "DELETE_OK") << " " << shown(ok.key) << (ok.found ? "   found" : "   not found")
                << "   ts " << ok.ts << "   " << shown(reply.node) << "\n";
  } else {
    screen_.out << (ok.found ? "1" : "0") << (verbose_ ? " " + verbose_tail(ok.ts, reply) : "") << "\n";
  }
}

void Printer::get_ok(const message::GetOk& ok, const Reply& reply, bool raw) {
  const std::string node = ok.node.empty() ? reply.node : ok.node;
  if (format_ == Format::json) {
    JsonLine line;
    line.add("key", ok.key);
    if (ok.value) {
      line.add_value(*ok.value);
    } else {
      line.add_null("value");
    }
    line.add("ts", ok.ts).add("applied", ok.applied).add("node", node);
    screen_.out << line.text() << "\n";
  } else if (format_ == Format::table && ok.value) {
    Table table({"KEY", "VALUE", "TS", "APPLIED", "NODE"});
    table.add({escape_control(ok.key), escape_control(*ok.value, std::string::npos), number(ok.ts),
               number(ok.applied), escape_control(node)});
    screen_.out << table.text(screen_.out_is_terminal);
  } else if (raw && ok.value) {
    screen_.out << shown(*ok.value);
  } else if (style_ == Style::shell) {
    if (ok.value) {
      screen_.out << colour(green, "GET") << " " << shown(ok.key) << " = " << shown(*ok.value) << "   ts " << ok.ts
                  << "   " << shown(node) << "\n";
    } else {
      screen_.out << colour(yellow, "GET") << " " << shown(ok.key) << ": no such key   " << shown(node) << "\n";
    }
  } else if (ok.value) {
    screen_.out << shown(*ok.value) << "\n";
  }
  if (style_ == Style::shell) return;
  if (verbose_) {
    screen_.out.flush();
    screen_.err << verbose_tail(ok.value ? ok.ts : ok.applied, reply) << " applied=" << ok.applied << "\n";
  }
  if (!ok.value) error("no such key: \"" + escape_control(ok.key) + "\"");
}

void Printer::wait(const message::WaitForResponse& wait) {
  const std::string behind = number(wait.applied) + " < " + number(wait.ts);
  if (style_ == Style::shell && format_ == Format::simple) {
    screen_.out << colour(yellow, "WAIT_FOR_RESPONSE") << " " << shown(wait.key) << "   " << behind << "   "
                << shown(wait.node) << "\n";
    screen_.out.flush();
  } else {
    screen_.err << escape_control(wait.node) << " is behind (" << behind << "): waiting\n";
    screen_.err.flush();
  }
}

void Printer::init_ok(const message::InitOk& ok, std::size_t servers) {
  if (format_ == Format::json) {
    JsonLine line;
    line.add("cluster", ok.cluster).add("node", ok.node).add("leader", ok.leader).add("applied", ok.applied);
    screen_.out << line.add("servers", static_cast<std::uint64_t>(servers)).text() << "\n";
    return;
  }
  screen_.out << colour(green, "INIT_OK") << " " << servers << (servers == 1 ? " server" : " servers") << "   "
              << (ok.leader.empty() ? "no leader" : "leader " + shown(ok.leader)) << "   " << shown(ok.node)
              << "\n";
}

void Printer::status_json(const NodeStatus& row) {
  JsonLine line;
  line.add("node", row.node).add("address", row.address);
  if (const auto* why = std::get_if<std::string>(&row.result)) {
    line.add("reachable", false).add("error", *why);
  } else {
    const auto& ok = std::get<message::StatusOk>(row.result);
    line.add("reachable", true).add("cluster", ok.cluster).add("role", ok.role).add("term", ok.term);
    line.add("leader", ok.leader).add("committed", ok.committed).add("applied", ok.applied);
    line.add("log_first", ok.log_first).add("log_last", ok.log_last).add("snapshot", ok.snapshot);
    line.add("keys", ok.keys).add("bytes", ok.bytes).add("quota", ok.quota).add("full", ok.full);
    line.add("digest", ok.digest).add("waiting", ok.waiting).add("watching", ok.watching);
    line.add("delay_ms", ok.delay_ms)
        .add("connections", ok.connections)
        .add("uptime_ms", ok.uptime_ms)
        .add("version", ok.version);
    if (!ok.peers.empty()) line.add_json("peers", peers_json(ok.peers));
  }
  screen_.out << line.text() << "\n";
}

void Printer::status_table(const std::vector<NodeStatus>& rows) {
  Table table({"NODE", "ADDRESS", "ROLE", "TERM", "APPLIED", "BEHIND", "KEYS", "SIZE", "UPTIME"});
  for (const std::size_t column : {3, 4, 5, 6, 7, 8}) table.align_right(column);
  const std::uint64_t committed = highest_committed(rows);
  for (const NodeStatus& row : rows) {
    const std::string node = row.node.empty() ? "?" : escape_control(row.node);
    if (std::holds_alternative<std::string>(row.result)) {
      table.add({node, row.address, colour(red, "unreachable"), "-", "-", "-", "-", "-", "-"});
      continue;
    }
    const auto& ok = std::get<message::StatusOk>(row.result);
    const std::string role = escape_control(ok.role);
    const std::uint64_t behind = committed - std::min(committed, ok.applied);
    table.add({node, row.address, ok.role == "leader" ? colour(bold, role) : role, number(ok.term),
               number(ok.applied), number(behind), number(ok.keys), format_size(ok.bytes),
               format_duration(std::chrono::milliseconds(ok.uptime_ms))});
  }
  screen_.out << table.text(screen_.out_is_terminal);
  screen_.out.flush();
  for (const std::string& trouble : troubles_of(rows)) warning(trouble);
}

void Printer::status(const std::vector<NodeStatus>& rows) {
  if (format_ != Format::json) return status_table(rows);
  for (const NodeStatus& row : rows) status_json(row);
}

void Printer::text(const std::string& text) {
  screen_.out << text;
}

void Printer::error(const std::string& line, const std::string& hint) {
  progress("");
  screen_.out.flush();
  screen_.err << painted(err_colours_, red, "kvctl:") << " " << line << "\n";
  if (!hint.empty()) screen_.err << hint << "\n";
  screen_.err.flush();
}

void Printer::remark(const std::string& text) {
  progress("");
  screen_.err << text;
  screen_.err.flush();
}

void Printer::warning(const std::string& line) {
  progress("");
  screen_.out.flush();
  screen_.err << painted(err_colours_, yellow, "kvctl: warning:") << " " << line << "\n";
  screen_.err.flush();
}

void Printer::progress(const std::string& line) {
  if (!err_colours_ || (line.empty() && !shows_progress_)) return;
  screen_.err << "\r\x1b[K" << line;
  screen_.err.flush();
  shows_progress_ = !line.empty();
}

bool Printer::flush() {
  screen_.out.flush();
  return screen_.out.good();
}

}  // namespace kv::client

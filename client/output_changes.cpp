// How lists, events and transactions are printed.
#include "client/output.hpp"
#include "common/table.hpp"
#include "common/text.hpp"

namespace kv::client {
namespace {

constexpr const char* green = "32";
constexpr const char* yellow = "33";

// A value as a member of a line, base64 where it is no text; null where there is none.
void add_value(JsonLine& line, const std::optional<std::string>& value) {
  if (value) {
    line.add_value(*value);
  } else {
    line.add_null("value");
  }
}

std::string json_of(const message::TxnResult& result) {
  JsonLine line;
  line.add("op", name_of(result.op)).add("key", result.key);
  if (result.op == message::Operation::get) add_value(line, result.value);
  line.add("ts", result.ts);
  if (result.op == message::Operation::erase) line.add("found", result.found);
  return line.text();
}

}  // namespace

void Printer::list(const std::vector<message::ListItem>& items, bool values) {
  Table table(values ? std::vector<std::string>{"KEY", "VALUE", "TS"} : std::vector<std::string>{"KEY", "TS"});
  for (const message::ListItem& item : items) {
    if (format_ == Format::json) {
      JsonLine line;
      line.add("key", item.key);
      if (values) add_value(line, item.value);
      screen_.out << line.add("ts", item.ts).text() << "\n";
    } else if (format_ == Format::table) {
      std::vector<std::string> row{escape_control(item.key)};
      if (values) row.push_back(escape_control(item.value.value_or(""), std::string::npos));
      row.push_back(std::to_string(item.ts));
      table.add(std::move(row));
    } else {
      screen_.out << shown(item.key) << (values ? "\t" + shown(item.value.value_or("")) : "");
      if (verbose_) screen_.out << "   ts " << item.ts;
      screen_.out << "\n";
    }
  }
  if (format_ == Format::table) screen_.out << table.text(screen_.out_is_terminal);
}

void Printer::event(const message::Event& event) {
  if (format_ == Format::json) {
    JsonLine line;
    line.add("op", name_of(event.op)).add("key", event.key);
    add_value(line, event.value);
    line.add("ts", event.ts);
    if (event.more) line.add("more", true);
    screen_.out << line.text() << "\n";
  } else {
    screen_.out << colour(event.value ? green : yellow, std::string(name_of(event.op))) << " " << shown(event.key);
    if (event.value) screen_.out << " = " << shown(*event.value);
    screen_.out << "   ts " << event.ts << "\n";
  }
  screen_.out.flush();
}

std::string Printer::result_line(const message::TxnResult& result) const {
  std::string line = std::string(name_of(result.op)) + " " + shown(result.key);
  switch (result.op) {
    case message::Operation::put:
      return line;
    case message::Operation::erase:
      return line + (result.found ? "   found" : "   not found");
    case message::Operation::get:
      return result.value ? line + " = " + shown(*result.value) + "   ts " + std::to_string(result.ts)
                          : line + ": no such key";
  }
  return line;
}

void Printer::txn_ok(const message::TxnOk& ok, const Reply& reply) {
  if (format_ == Format::json) {
    JsonLine line;
    line.add("succeeded", ok.succeeded).add("ts", ok.ts).add("node", reply.node);
    std::string results;
    for (const message::TxnResult& result : ok.results) results += (results.empty() ? "" : ",") + json_of(result);
    screen_.out << line.add_json("results", "[" + results + "]").text() << "\n";
    return;
  }
  const char* branch = ok.succeeded ? "then" : "else";
  if (style_ == Style::shell) {
    screen_.out << colour(ok.succeeded ? green : yellow, "TXN_OK") << " " << branch << "   ts " << ok.ts << "   "
                << shown(reply.node) << "\n";
  } else {
    screen_.out << (ok.succeeded ? "OK" : "ELSE") << (verbose_ ? " " + verbose_tail(ok.ts, reply) : "") << "\n";
  }
  for (const message::TxnResult& result : ok.results) screen_.out << result_line(result) << "\n";
}

}  // namespace kv::client

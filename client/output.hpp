// How results are printed: simple, json or table; as the one-shot commands answer or as the shell does.
//
// Results go to `out` and nothing else does, so that a script can read them; remarks, warnings and errors go to
// `err`. On a terminal control bytes are escaped, whatever the format; in a pipe a value leaves byte for byte.
#pragma once

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "client/client.hpp"
#include "client/options.hpp"
#include "client/outcome.hpp"
#include "common/message.hpp"

namespace kv::client {

// Where the output goes, and what is there.
struct Screen {
  std::ostream& out;
  std::ostream& err;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
};

enum class Style {
  one_shot,  // "OK", the value, "1"
  shell,     // "PUT_OK colour = blue   ts 58   n1"
};

class Printer {
 public:
  Printer(Screen screen, Style style, const GlobalOptions& options);

  void put_ok(const message::Put& put, const message::PutOk& ok, const Reply& reply);
  void delete_ok(const message::DeleteOk& ok, const Reply& reply);
  // Also for a key that is absent.
  void get_ok(const message::GetOk& ok, const Reply& reply, bool raw);
  // A line for each; as a table all of them, which must have come together.
  void list(const std::vector<message::ListItem>& items, bool values);
  // What a watch has seen; ready to be read at once.
  void event(const message::Event& event);
  void txn_ok(const message::TxnOk& ok, const Reply& reply);
  void wait(const message::WaitForResponse& wait);
  void init_ok(const message::InitOk& ok, std::size_t servers);
  void status(const std::vector<NodeStatus>& rows);
  // Help, version and the banner; and whatever else is ready as it is.
  void text(const std::string& text);

  void failure(const std::string& what, const Failure& failure) { error(describe(what, failure)); }
  void error(const std::string& line, const std::string& hint = "");
  // To `err`, where `out` is taken by something else.
  void remark(const std::string& text);
  void warning(const std::string& line);
  // A line on a terminal's `err` that the next one takes the place of, and that an error or warning, or "",
  // removes. Nothing where `err` is something else, or colours are not wanted.
  void progress(const std::string& line);

  // False: what was printed could not be written (a full disk, say).
  bool flush();
  bool out_is_terminal() const { return screen_.out_is_terminal; }

 private:
  std::string shown(std::string_view text, std::size_t max_bytes = std::string::npos) const;
  std::string colour(const char* code, const std::string& text) const;
  std::string result_line(const message::TxnResult& result) const;
  std::string verbose_tail(std::uint64_t ts, const Reply& reply) const;
  void status_json(const NodeStatus& row);
  void status_table(const std::vector<NodeStatus>& rows);

  Screen screen_;
  Style style_;
  Format format_;
  bool verbose_;
  bool colours_;      // on `out`
  bool err_colours_;  // on `err`
  bool shows_progress_ = false;
};

// "put \"colour\"": a command as its error messages name it.
std::string name_of_command(const char* command, const std::string& key);

}  // namespace kv::client

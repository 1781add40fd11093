#include "server/inspect_command.hpp"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>

#include "common/text.hpp"
#include "server/inspect.hpp"
#include "server/inspect_print.hpp"
#include "server/lock_holder.hpp"

namespace kv::inspect {
namespace {

constexpr int damaged = 1;
constexpr int wrong_usage = 2;

// The command line is wrong; the text says what would do.
class UsageError : public std::runtime_error {
  using runtime_error::runtime_error;
};

std::unique_ptr<Directory> open_data(const std::string& path) {
  const std::string shown = escape_control(path, path.size());
  std::unique_ptr<Directory> directory;
  try {
    directory = open_directory_to_read(path);
  } catch (const FileError& error) {
    if (error.error() == ENOENT) {
      throw UsageError(shown + ": there is no such folder: name the one that the server's --data-dir names");
    }
    if (error.error() == ENOTDIR) {
      throw UsageError(shown + " is no folder: name the one that the server's --data-dir names");
    }
    if (error.error() == EACCES) {
      throw UsageError(shown + ": this user may not read it: run this as the user that the server runs as");
    }
    throw UsageError(error.what());
  }
  if (!is_data_directory(*directory)) {
    throw UsageError(
        shown +
        " is no data directory: there is neither a log (*.wal) nor a snapshot (*.snap) in it. Name the "
        "folder that the server's --data-dir names");
  }
  return directory;
}

int inspect_folder(const std::string& path, Options options, bool as_json) {
  const std::unique_ptr<Directory> directory = open_data(path);
  const std::optional<std::uint64_t> holder = lock_holder(path);
  options.is_in_use = holder.has_value();
  const Findings findings = look_at(*directory, options);
  if (as_json) {
    print_json(findings, holder, std::cout);
  } else {
    print_text(findings, holder, options, std::cout);
  }
  if (!std::cout.flush()) throw std::runtime_error("cannot write the report: is the disk full?");
  return findings.problems.empty() ? 0 : damaged;
}

}  // namespace

int run_command(int argc, const char* const* argv) {
  CLI::App app(
      "kvd inspect: what is in a data directory, and what is wrong with it. Changes nothing, and the server\n"
      "may run.");
  app.name("kvd inspect");
  app.footer("Exit status: 0 nothing is wrong, 1 something is damaged, 2 wrong usage.");
  std::string path;
  std::string format = "text";
  Options options;
  app.add_option("DIR", path, "the data directory")->required()->type_name("");
  app.add_flag("--entries", options.records, "every record of the log as well");
  app.add_flag("--keys", options.keys, "the keys in the newest whole snapshot as well");
  app.add_option("-o,--output", format, "text, or json: an object a line")
      ->type_name("FORMAT")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  try {
    app.parse(argc, argv);
    if (format != "text" && format != "json") {
      throw UsageError("--output: '" + escape_control(format) + "' is not one of text, json");
    }
    return inspect_folder(path, options, format == "json");
  } catch (const CLI::Success& done) {
    return app.exit(done);
  } catch (const CLI::ParseError& error) {
    std::cerr << "kvd inspect: " << error.what() << ": see kvd inspect --help\n";
    return wrong_usage;
  } catch (const UsageError& error) {
    std::cerr << "kvd inspect: " << error.what() << "\n";
    return wrong_usage;
  } catch (const std::exception& error) {
    std::cerr << "kvd inspect: " << error.what() << "\n";
    return damaged;
  }
}

}  // namespace kv::inspect

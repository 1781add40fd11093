#include "server/config.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <stdexcept>
#include <vector>

#include "common/man_page.hpp"
#include "common/message.hpp"
#include "common/text.hpp"

namespace kv {
namespace {

using std::chrono::milliseconds;

// A value that cannot be used; the text says what would do.
class BadValue : public std::runtime_error {
  using runtime_error::runtime_error;
};

Address address_value(const std::string& text, bool any_port) {
  auto parsed = parse_address(text, any_port);
  if (const auto* error = std::get_if<AddressError>(&parsed)) throw BadValue(error->text);
  return std::get<Address>(parsed);
}

milliseconds duration_value(const std::string& text, milliseconds least) {
  const auto duration = parse_duration(text);
  if (!duration) throw BadValue("'" + text + "' is not a duration: write it as 100ms, 5s or 2m");
  if (*duration < least) {
    throw BadValue("'" + text + "' is too short: at least " + std::to_string(least.count()) + "ms");
  }
  if (*duration > std::chrono::hours(1)) throw BadValue("'" + text + "' is too long: at most 1h");
  return *duration;
}

std::uint64_t number_value(const std::string& text, std::uint64_t least, std::uint64_t most) {
  const auto number = parse_number(text);
  if (!number || *number < least || *number > most) {
    throw BadValue("'" + text + "' is not a whole number from " + std::to_string(least) + " to " +
                   std::to_string(most));
  }
  return *number;
}

std::uint64_t size_value(const std::string& text, std::uint64_t least, std::uint64_t most) {
  const auto size = parse_size(text);
  if (!size) throw BadValue("'" + text + "' is not a size: write it as 4096, 64KiB or 1MiB");
  if (*size < least || *size > most) {
    throw BadValue("'" + text + "' is out of range: from " + std::to_string(least) + " to " + std::to_string(most) +
                   " bytes");
  }
  return *size;
}

std::string name_value(const std::string& text) {
  const auto fits = [](unsigned char c) { return std::isalnum(c) || c == '-' || c == '_' || c == '.'; };
  if (text.empty() || text.size() > 64 || !std::all_of(text.begin(), text.end(), fits)) {
    throw BadValue("'" + escape_control(text) + "' is not a name: letters, digits, '-', '_' and '.', at most 64");
  }
  return text;
}

std::string choice_value(const std::string& text, const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), text) != choices.end()) return text;
  std::string all;
  for (const auto& choice : choices) all += (all.empty() ? "" : ", ") + choice;
  throw BadValue("'" + escape_control(text) + "' is not one of " + all);
}

std::map<std::string, Address> cluster_value(const std::string& text) {
  std::map<std::string, Address> cluster;
  std::size_t begin = 0;
  while (begin <= text.size()) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    std::string item = text.substr(begin, end - begin);
    item.erase(0, item.find_first_not_of(" \t"));
    item.erase(item.find_last_not_of(" \t") + 1);
    const std::size_t equals = item.find('=');
    if (equals == std::string::npos) {
      throw BadValue("'" + escape_control(item) +
                     "' is not name=host:port, as in n1=127.0.0.1:7501,n2=127.0.0.1:7502");
    }
    const std::string name = name_value(item.substr(0, equals));
    if (!cluster.emplace(name, address_value(item.substr(equals + 1), false)).second) {
      throw BadValue("names " + name + " twice");
    }
    begin = end + 1;
  }
  return cluster;
}

// One thing that can be set: `--name`, KVD_NAME or `name = …` in the file.
struct Setting {
  std::string name;
  std::string placeholder;
  std::string help;
  std::function<void(ServerConfig&, const std::string&)> set;
};

std::vector<Setting> settings() {
  return {
      {"name", "NAME", "this server's name, one of those in --cluster (n1)",
       [](ServerConfig& c, const std::string& v) { c.name = name_value(v); }},
      {"listen", "HOST:PORT", "where clients connect (127.0.0.1:7401)",
       [](ServerConfig& c, const std::string& v) { c.listen = address_value(v, true); }},
      {"peer-listen", "HOST:PORT",
       "where the other servers connect (127.0.0.1:7501; a single server does not listen)",
       [](ServerConfig& c, const std::string& v) {
         c.peer_listen = address_value(v, true);
         c.peer_listen_given = true;
       }},
      {"cluster", "NAME=HOST:PORT,…", "every member and where servers reach it; without it a single server",
       [](ServerConfig& c, const std::string& v) { c.cluster = cluster_value(v); }},
      {"data-dir", "DIR", "where the log is kept (kvd-data)",
       [](ServerConfig& c, const std::string& v) {
         if (v.empty()) throw BadValue("a folder is needed");
         c.data_dir = v;
       }},
      {"restore", "FILE", "begin a new cluster from this backup, in an empty --data-dir; for the first start only",
       [](ServerConfig& c, const std::string& v) {
         if (v.empty()) throw BadValue("a backup's file is needed");
         c.restore = v;
       }},
      {"advertise", "HOST:PORT", "where clients reach this server, if not at --listen",
       [](ServerConfig& c, const std::string& v) { c.advertise = address_value(v, false); }},
      {"peer-advertise", "HOST:PORT", "where servers reach this server, if not at its address in --cluster",
       [](ServerConfig& c, const std::string& v) { c.peer_advertise = address_value(v, false); }},
      {"preferred-leader", "NAME", "the member that leads whenever it can",
       [](ServerConfig& c, const std::string& v) { c.preferred_leader = name_value(v); }},
      {"heartbeat-interval", "TIME", "how often the leader shows that it is there (100ms)",
       [](ServerConfig& c, const std::string& v) { c.heartbeat_interval = duration_value(v, milliseconds(10)); }},
      {"election-timeout", "TIME", "silence of the leader after which the others elect one (1s)",
       [](ServerConfig& c, const std::string& v) { c.election_timeout = duration_value(v, milliseconds(50)); }},
      {"delay-replication", "TIME", "apply every committed entry so much later, to see WAIT_FOR_RESPONSE (0s)",
       [](ServerConfig& c, const std::string& v) { c.delay_replication = duration_value(v, milliseconds(0)); }},
      {"snapshot-every", "NUMBER", "writes after which a snapshot of the data takes the place of the log (100000)",
       [](ServerConfig& c, const std::string& v) { c.snapshot_every = number_value(v, 1, 1'000'000'000); }},
      {"quota", "SIZE", "the most that keys and values may take together (2GiB); 0: no limit",
       [](ServerConfig& c, const std::string& v) { c.quota = size_value(v, 0, std::uint64_t{1} << 50); }},
      {"max-value", "SIZE", "the longest value that is taken (1MiB, which is the most)",
       [](ServerConfig& c, const std::string& v) { c.max_value = size_value(v, 1, max_value_bytes); }},
      {"max-connections", "NUMBER", "clients at the same time (10000)",
       [](ServerConfig& c, const std::string& v) { c.max_connections = number_value(v, 1, 1'000'000); }},
      {"io-uring", "WHEN",
       "auto, on or off: receive and send by Linux' io_uring (auto: where the kernel allows it)",
       [](ServerConfig& c, const std::string& v) {
         c.io_uring.reset();
         if (choice_value(v, {"auto", "on", "off"}) != "auto") c.io_uring = v == "on";
       }},
      {"log-level", "LEVEL", "trace, debug, info, warn or error (info); debug shows every request",
       [](ServerConfig& c, const std::string& v) {
         c.log.level = choice_value(v, {"trace", "debug", "info", "warn", "error"});
       }},
      {"log-format", "FORMAT", "text or json (text)",
       [](ServerConfig& c, const std::string& v) {
         c.log.format = choice_value(v, {"text", "json"});
       }},
      {"log-file", "FILE", "where the log goes instead of stderr",
       [](ServerConfig& c, const std::string& v) {
         const std::filesystem::path folder = std::filesystem::path(v).parent_path();
         if (!folder.empty() && !std::filesystem::is_directory(folder)) {
           throw BadValue("the folder '" + folder.string() + "' does not exist: make it, or choose another");
         }
         c.log.file = v;
       }},
  };
}

std::string environment_name(const std::string& setting) {
  std::string name = "KVD_";
  for (const char c : setting)
    name += c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

// Where a value was given, for the message when it is wrong.
void set(ServerConfig& config, const Setting& setting, const std::string& value, const std::string& where) {
  try {
    setting.set(config, value);
  } catch (const BadValue& error) {
    throw BadValue(where + ": " + error.what());
  }
}

void read_file(ServerConfig& config, const std::vector<Setting>& all, const std::string& path) {
  std::ifstream file(path);
  if (std::filesystem::is_directory(path)) {
    throw BadValue("--config: '" + path + "' is a folder: name the file in it");
  }
  if (!file) throw BadValue("--config: cannot read '" + path + "': check the path and its permissions");
  std::vector<CLI::ConfigItem> items;
  try {
    items = CLI::ConfigTOML().from_config(file);
  } catch (const CLI::Error& error) {
    throw BadValue(path + ": " + error.what());
  }
  for (const CLI::ConfigItem& item : items) {
    if (item.name == "++" || item.name == "--") continue;  // CLI11's marks of a section
    const auto found =
        std::find_if(all.begin(), all.end(), [&](const Setting& s) { return s.name == item.fullname(); });
    if (found == all.end()) {
      throw BadValue(path + ": '" + escape_control(item.fullname()) + "' is not a setting: see kvd --help");
    }
    if (item.inputs.size() != 1) {
      throw BadValue(path + ": " + item.name +
                     " needs one value, and to be there once; put quotes around it, as in " + item.name +
                     " = \"…\"");
    }
    set(config, *found, item.inputs.front(), path + ": " + item.name);
  }
}

void check_whole(const ServerConfig& config) {
  if (!config.cluster.empty() && !config.cluster.contains(config.name)) {
    std::string names;
    for (const auto& [name, address] : config.cluster) names += (names.empty() ? "" : ", ") + name;
    throw BadValue("--name " + config.name + " is not in --cluster, which has " + names);
  }
  std::map<std::string, std::string> members;
  for (const auto& [name, address] : config.cluster) {
    const auto [other, is_first] = members.emplace(address.text(), name);
    if (!is_first)
      throw BadValue("--cluster: " + other->second + " and " + name + " have one address, " + address.text());
  }
  if (!config.preferred_leader.empty() && config.preferred_leader != config.name &&
      !config.cluster.contains(config.preferred_leader)) {
    throw BadValue("--preferred-leader " + config.preferred_leader + " is not in --cluster" +
                   (config.cluster.empty() ? ", without which " + config.name + " is alone" : ""));
  }
  if (config.election_timeout < 3 * config.heartbeat_interval) {
    throw BadValue(
        "--election-timeout must be at least three times --heartbeat-interval, else a lost heartbeat is an "
        "election");
  }
}

const char* const footer =
    "kvd inspect DIR shows what is in a data directory and what is wrong with it (kvd inspect --help).\n\n"
    "Each flag is also an environment variable (--data-dir: KVD_DATA_DIR) and a line of the config file\n"
    "(data-dir = \"…\"). A flag beats the environment, which beats the file.\n\n"
    "Example: kvd --name n1 --cluster n1=10.0.0.1:7501,n2=10.0.0.2:7501,n3=10.0.0.3:7501 \\\n"
    "             --listen 10.0.0.1:7401 --peer-listen 10.0.0.1:7501 --data-dir /var/lib/kvd";

std::string man_page(const std::vector<Setting>& all) {
  ManPage page{"kvd", "one server of a replicated key-value store", "[FLAGS]\n.br\n.B kvd inspect\nDIR", {}};
  ManSection flags{"Flags", "Without any flag: a single server in ./kvd-data.", {}};
  flags.items.emplace_back("--config FILE", "a file with these settings (TOML)");
  for (const Setting& setting : all)
    flags.items.emplace_back("--" + setting.name + " " + setting.placeholder, setting.help);
  page.sections.push_back(std::move(flags));
  page.sections.push_back({"More", footer, {}});
  page.sections.push_back(
      {"Exit status", "0 after SIGTERM or SIGINT; 1 where it cannot go on; 2 for wrong flags.", {}});
  page.sections.push_back({"See also", "kvctl(1)", {}});
  return to_roff(page);
}

// Of two that differ neither is what was meant for sure.
void check_given_once(const CLI::App& app) {
  for (const CLI::Option* option : app.get_options()) {
    if (option->count() > 1) throw BadValue(option->get_name() + " is given more than once");
  }
}

}  // namespace

std::variant<ServerConfig, ExitNow> read_config(int argc, const char* const* argv) {
  CLI::App app("kvd: one server of a replicated key-value store. Without any flag: a single server in ./kvd-data.");
  app.name("kvd");
  app.set_version_flag("--version", std::string("kvd ") + version);
  app.footer(footer);
  bool wants_man_page = false;
  app.add_flag("--man-page", wants_man_page, "Print the manual page's source and leave");
  const std::vector<Setting> all = settings();
  std::map<std::string, std::string> given;
  std::string config_path;
  app.add_option("--config", config_path, "a file with these settings (TOML)")->type_name("FILE");
  for (const Setting& setting : all) {
    app.add_option_function<std::string>(
           "--" + setting.name, [&given, name = setting.name](const std::string& value) { given[name] = value; },
           setting.help)
        ->type_name(setting.placeholder);
  }
  for (CLI::Option* option : app.get_options()) option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  try {
    app.parse(argc, argv);
    check_given_once(app);
    if (wants_man_page) {
      std::cout << man_page(all);
      return ExitNow{0};
    }
    ServerConfig config;
    if (config_path.empty() && std::getenv("KVD_CONFIG")) config_path = std::getenv("KVD_CONFIG");
    if (!config_path.empty()) read_file(config, all, config_path);
    for (const Setting& setting : all) {
      const std::string variable = environment_name(setting.name);
      if (const char* value = std::getenv(variable.c_str())) set(config, setting, value, variable);
    }
    for (const Setting& setting : all) {
      if (given.contains(setting.name)) set(config, setting, given[setting.name], "--" + setting.name);
    }
    check_whole(config);
    config.log.name = config.name;
    return config;
  } catch (const CLI::Success& done) {
    return ExitNow{app.exit(done)};
  } catch (const CLI::ParseError& error) {
    std::cerr << "kvd: " << error.what() << ": see kvd --help\n";
  } catch (const BadValue& error) {
    std::cerr << "kvd: " << error.what() << "\n";
  }
  return ExitNow{2};
}

}  // namespace kv

#include "common/log.hpp"

#include <spdlog/details/os.h>
#include <spdlog/formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <string_view>
#include <utility>

#include "common/json.hpp"
#include "common/text.hpp"

namespace kv {
namespace {

constexpr std::array<std::pair<std::string_view, spdlog::level::level_enum>, 5> levels{
    {{"trace", spdlog::level::trace},
     {"debug", spdlog::level::debug},
     {"info", spdlog::level::info},
     {"warn", spdlog::level::warn},
     {"error", spdlog::level::err}}};

std::string_view name_of(spdlog::level::level_enum level) {
  for (const auto& [name, value] : levels) {
    if (value == level) return name;
  }
  return "fatal";
}

unsigned milliseconds_of(spdlog::log_clock::time_point time) {
  const auto since_epoch = std::chrono::duration_cast<std::chrono::milliseconds>(time.time_since_epoch());
  return static_cast<unsigned>(since_epoch.count() % 1000);
}

bool is_control(char c) {
  return static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
}

class TextFormatter : public spdlog::formatter {
 public:
  explicit TextFormatter(std::string node) : node_(std::move(node)) {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const std::tm t = spdlog::details::os::localtime(spdlog::log_clock::to_time_t(message.time));
    fmt::format_to(std::back_inserter(out), "{:04}-{:02}-{:02} {:02}:{:02}:{:02}.{:03} {:<5} {}{}",
                   t.tm_year + 1900, t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec,
                   milliseconds_of(message.time), name_of(message.level), node_, node_.empty() ? "" : "  ");
    const std::string_view text(message.payload.data(), message.payload.size());
    if (std::none_of(text.begin(), text.end(), is_control)) {
      out.append(text.data(), text.data() + text.size());
    } else {
      const std::string escaped = escape_control(text, text.size());
      out.append(escaped.data(), escaped.data() + escaped.size());
    }
    out.push_back('\n');
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<TextFormatter>(node_); }

 private:
  std::string node_;
};

class JsonFormatter : public spdlog::formatter {
 public:
  explicit JsonFormatter(std::string node) : node_(std::move(node)) {}

  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const std::tm t = spdlog::details::os::gmtime(spdlog::log_clock::to_time_t(message.time));
    std::string line = fmt::format(
        "{{\"time\":\"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z\",\"level\":\"{}\",\"node\":", t.tm_year + 1900,
        t.tm_mon + 1, t.tm_mday, t.tm_hour, t.tm_min, t.tm_sec, milliseconds_of(message.time),
        name_of(message.level));
    json::append_string(line, node_);
    line += ",\"message\":";
    json::append_string(line, {message.payload.data(), message.payload.size()});
    line += "}\n";
    out.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override { return std::make_unique<JsonFormatter>(node_); }

 private:
  std::string node_;
};

spdlog::sink_ptr make_sink(const std::string& file) {
  if (file.empty()) return std::make_shared<spdlog::sinks::stderr_sink_mt>();
  try {
    return std::make_shared<spdlog::sinks::basic_file_sink_mt>(file);
  } catch (const spdlog::spdlog_ex& error) {
    throw std::runtime_error("the log file can't be opened: " + std::string(error.what()));
  }
}

}  // namespace

void set_up_logging(const LogOptions& options) {
  const auto level =
      std::find_if(levels.begin(), levels.end(), [&](const auto& l) { return l.first == options.level; });
  if (level == levels.end()) {
    throw std::runtime_error("'" + escape_control(options.level) +
                             "' is not a log level: write trace, debug, info, warn or error");
  }
  if (options.format != "text" && options.format != "json") {
    throw std::runtime_error("'" + escape_control(options.format) + "' is not a log format: write text or json");
  }
  auto logger = std::make_shared<spdlog::logger>("kv", make_sink(options.file));
  if (options.format == "json") {
    logger->set_formatter(std::make_unique<JsonFormatter>(options.name));
  } else {
    logger->set_formatter(std::make_unique<TextFormatter>(options.name));
  }
  logger->set_level(level->second);
  logger->flush_on(spdlog::level::trace);  // the last lines before a crash are the ones that are wanted
  spdlog::set_default_logger(std::move(logger));
}

}  // namespace kv

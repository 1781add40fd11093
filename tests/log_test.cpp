#include "common/log.hpp"

#include <spdlog/spdlog.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string>

#include "common/text.hpp"

namespace {

using namespace kv;

// Logs to a file of its own; what was spdlog's logger before is so again afterwards.
class LogFile {
 public:
  LogFile() : path_(std::filesystem::temp_directory_path() / ("kv-log-" + new_uuid())) {}
  ~LogFile() {
    spdlog::set_default_logger(before_);
    std::filesystem::remove(path_);
  }
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  std::string path() const { return path_.string(); }
  // All that has been written, without any flush.
  std::string text() const {
    std::ifstream file(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

 private:
  std::filesystem::path path_;
  std::shared_ptr<spdlog::logger> before_ = spdlog::default_logger();
};

// Every digit as a 9, so that times can be compared.
std::string without_time(std::string text) {
  for (char& c : text) {
    if (c >= '0' && c <= '9') c = '9';
  }
  return text;
}

TEST_CASE("a line of text has time, level, node and message") {
  const LogFile file;
  set_up_logging({"debug", "text", file.path(), "n1"});
  spdlog::info("ready");
  spdlog::debug("PUT {}", "colour");
  spdlog::trace("not wanted");
  spdlog::error("disk");
  CHECK(without_time(file.text()) ==
        "9999-99-99 99:99:99.999 info  n9  ready\n"
        "9999-99-99 99:99:99.999 debug n9  PUT colour\n"
        "9999-99-99 99:99:99.999 error n9  disk\n");
}

TEST_CASE("a program that is no node has no name in its lines") {
  const LogFile file;
  set_up_logging({"warn", "text", file.path(), ""});
  spdlog::info("not wanted");
  spdlog::warn("slow");
  CHECK(without_time(file.text()) == "9999-99-99 99:99:99.999 warn  slow\n");
}

TEST_CASE("json is an object a line") {
  const LogFile file;
  set_up_logging({"info", "json", file.path(), "n\"1"});
  spdlog::warn("a \"quoted\" word,\nand größer");
  CHECK(
      without_time(file.text()) ==
      R"({"time":"9999-99-99T99:99:99.999Z","level":"warn","node":"n\"9","message":"a \"quoted\" word,\nand größer"})"
      "\n");
}

TEST_CASE("json stays json whatever is in the message") {
  const LogFile file;
  set_up_logging({"info", "json", file.path(), "n1"});
  spdlog::info("\x01 \xff");
  const std::string line = file.text();
  CHECK(is_valid_utf8(line));
  CHECK(line.find('\x01') == std::string::npos);
  CHECK(line.find(R"("message":"\\x01 \\xff"})") != std::string::npos);
}

TEST_CASE("no message can forge a line of text") {
  const LogFile file;
  set_up_logging({"info", "text", file.path(), "n1"});
  spdlog::info("key a\n2026-01-02 12:00:00.123 info  n1  forged \x1b[31m");
  const std::string text = file.text();
  CHECK(text.find('\n') == text.size() - 1);
  CHECK(text.find(R"(key a\n2026-01-02)") != std::string::npos);
  CHECK(text.find(R"(\x1b[31m)") != std::string::npos);
}

TEST_CASE("a log file is appended to") {
  const LogFile file;
  set_up_logging({"info", "text", file.path(), "n1"});
  spdlog::info("first run");
  set_up_logging({"info", "text", file.path(), "n1"});
  spdlog::info("second run");
  CHECK(file.text().find("first run") != std::string::npos);
  CHECK(file.text().find("second run") != std::string::npos);
}

TEST_CASE("wrong options are told, and change nothing") {
  const auto before = spdlog::default_logger();
  CHECK_THROWS_WITH(set_up_logging({"loud", "text", "", ""}),
                    "'loud' is not a log level: write trace, debug, info, warn or error");
  CHECK_THROWS_WITH(set_up_logging({"info", "xml", "", ""}), "'xml' is not a log format: write text or json");
  CHECK_THROWS_WITH(set_up_logging({"info", "text", "/proc/no/such/file", ""}),
                    Catch::StartsWith("the log file can't be opened: ") && Catch::Contains("/proc/no/such/file"));
  CHECK(spdlog::default_logger() == before);
}

}  // namespace

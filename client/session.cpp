#include "client/session.hpp"

#include <algorithm>
#include <utility>
#include <variant>

#include "common/text.hpp"

namespace kv::client {
namespace {

// The cluster's id comes from the network and becomes a file's name.
bool fit_for_a_file_name(const std::string& cluster) {
  const auto harmless = [](unsigned char c) {
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-' || c == '_';
  };
  return !cluster.empty() && cluster.size() <= 64 && std::all_of(cluster.begin(), cluster.end(), harmless);
}

}  // namespace

Session Session::per_cluster(std::filesystem::path directory, Warn warn) {
  Session session(std::move(warn));
  session.directory_ = std::move(directory);
  return session;
}

Session Session::in_file(std::filesystem::path file, Warn warn) {
  Session session(std::move(warn));
  session.file_.emplace(std::move(file));
  return session;
}

Session Session::in_memory(Warn warn) {
  return Session(std::move(warn));
}

std::string Session::remembered_cluster() {
  if (!file_ || !directory_.empty()) return "";
  if (cluster_.empty()) load();
  return cluster_;
}

void Session::attach(const std::string& cluster) {
  if (cluster == cluster_) return;
  cluster_ = cluster;
  timestamps_ = Timestamps();
  if (directory_.empty()) return;
  file_.reset();
  if (!fit_for_a_file_name(cluster)) {
    warn_once("no session file for a cluster named \"" + escape_control(cluster) + "\"");
    return;
  }
  file_.emplace(directory_ / (cluster + ".session"));
  load();
}

void Session::load() {
  std::variant<SessionFile::Content, SessionFile::Problem> loaded = file_->load();
  if (const auto* problem = std::get_if<SessionFile::Problem>(&loaded)) {
    warn_once(problem->text);
    return;
  }
  const SessionFile::Content& content = std::get<SessionFile::Content>(loaded);
  if (content.cluster.empty()) return;
  if (cluster_.empty()) cluster_ = content.cluster;
  if (content.cluster == cluster_) {
    timestamps_.merge(content.timestamps);
  } else {
    warn_once("the session file " + file_->path().string() + " is of cluster " + content.cluster + ", not of " +
              cluster_ + ": it was left as it is");
  }
}

void Session::look_again() {
  if (file_ && file_->changed()) load();
}

std::uint64_t Session::position_of(std::string_view key) {
  look_again();
  return timestamps_.position_of(key);
}

std::uint64_t Session::highest_position() {
  look_again();
  return timestamps_.highest();
}

void Session::learn(std::string_view key, std::uint64_t ts) {
  if (timestamps_.learn(key, ts)) keep();
}

void Session::learn_for_all(std::uint64_t ts) {
  if (timestamps_.learn_for_all(ts)) keep();
}

void Session::keep() {
  if (!file_ || cluster_.empty()) return;
  // All of them, not this one alone: an earlier attempt may have failed.
  std::variant<SessionFile::Added, SessionFile::Problem> added = file_->add(cluster_, timestamps_);
  if (const auto* problem = std::get_if<SessionFile::Problem>(&added)) {
    warn_once(problem->text);
    return;
  }
  const SessionFile::Added& sum = std::get<SessionFile::Added>(added);
  if (!sum.warning.empty()) warn_once(sum.warning);
  timestamps_.merge(sum.timestamps);
}

void Session::warn_once(const std::string& text) {
  if (text == last_warning_) return;
  last_warning_ = text;
  warn_(text);
}

}  // namespace kv::client

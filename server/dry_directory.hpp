// A Directory for asking what somebody would do with another one: whatever would change that is taken for done, and
// forgotten. So recovery can be run on a data directory that must stay as it is.
//
// What it creates can be opened and written, and a file that was written to can't be read any more.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "server/file.hpp"

namespace kv {

class DryDirectory final : public Directory {
 public:
  // Borrows `real`, and of it only reads.
  explicit DryDirectory(Directory& real);

  std::string path() const override { return real_.path(); }
  std::vector<std::string> list() override;
  std::unique_ptr<File> create(const std::string& name) override;
  std::unique_ptr<File> open(const std::string& name) override;
  void rename(const std::string& from, const std::string& to) override;
  void remove(const std::string& name) override;
  void sync() override {}

 private:
  Directory& real_;
  std::map<std::string, std::string> names_;  // to the file's name in real_; to nothing: it was made here
};

}  // namespace kv

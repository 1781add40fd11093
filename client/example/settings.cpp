// A program that keeps a setting and a counter in a kvd cluster: kvd-example-settings HOST:PORT…
#include <exception>
#include <iostream>
#include <kvd/client.hpp>
#include <string>

namespace {

// Adds one, however many others do so at the same time.
kvd::Written count_up(kvd::Client& client, const std::string& key) {
  for (;;) {
    const kvd::Read now = client.get(key).value();
    kvd::WriteOptions unchanged;
    unchanged.if_ts = now.ts;
    const kvd::Result<kvd::Written> put =
        client.put(key, std::to_string(std::stoi(now.value.value_or("0")) + 1), unchanged);
    if (put || put.error().kind != kvd::Error::Kind::conflict) return put.value();
  }
}

// Both or neither, and only if nobody has changed it meanwhile.
bool rename(kvd::Client& client, const std::string& from, const std::string& to) {
  const kvd::Read now = client.get(from).value();
  if (!now.value) return false;
  kvd::Txn txn;
  txn.conditions.push_back({from, now.ts});
  txn.then = {kvd::Operation::put(to, *now.value), kvd::Operation::del(from)};
  return client.txn(txn).value().succeeded;
}

void use(kvd::Client& client) {
  const kvd::Written first = client.put("colour", "blue").value();
  // Its own write is read, whichever server answers.
  std::cout << "colour is " << client.get("colour").value().value.value_or("(absent)") << "\n";

  count_up(client, "runs");
  kvd::ReadOptions latest;
  latest.consistency = kvd::Consistency::linearizable;
  std::cout << "runs: " << client.get("runs", latest).value().value.value_or("0") << "\n";

  rename(client, "colour", "color");
  for (const kvd::List::Item& item : client.list("colo").value().items) {
    std::cout << "there is " << item.key << " = " << item.value.value_or("") << "\n";
  }

  // What has happened since: all that one transaction did comes together.
  kvd::WatchOptions since;
  since.from = first.ts;
  kvd::Watch watch = client.watch_prefix("colo", since);
  for (const kvd::Change& change : watch.next().value()) {
    std::cout << change.key << (change.value ? " was put" : " was deleted") << "\n";
  }

  const kvd::Result<kvd::Deleted> del = client.del("color");
  if (!del) {
    std::cerr << del.error().text << "\n";
  } else if (del->found) {
    std::cout << "color is deleted\n";
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    kvd::Options options;
    if (argc > 1) options.endpoints.assign(argv + 1, argv + argc);
    options.name = "settings example";
    kvd::Client client(options);
    use(client);
    return 0;
  } catch (const kvd::Failed& failed) {
    std::cerr << failed.what() << "\n";
    // The one case in which it is not known whether something was written.
    return failed.error().maybe_applied ? 2 : 1;
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}

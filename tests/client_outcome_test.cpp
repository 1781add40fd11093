// What a failure of the client library says, and with which status kvctl exits.
#include <catch2/catch.hpp>

#include "client/outcome.hpp"
#include "common/message.hpp"

using namespace kv;
using namespace kv::client;

TEST_CASE("client: failures become exit statuses and one line for a person") {
  Failure failure;
  failure.attempts = {"127.0.0.1:7401: connection refused"};
  CHECK(
      describe("put \"a\"", failure) ==
      "no server reached: 127.0.0.1:7401: connection refused; start one with kvd, or name others with --endpoints");
  failure.kind = Failure::Kind::unknown_outcome;
  failure.where = "n1 (127.0.0.1:7401)";
  CHECK(exit_of(failure) == Exit::unknown_outcome);
  CHECK_THAT(describe("put \"a\"", failure), Catch::Contains("the outcome is not known"));
  failure.kind = Failure::Kind::refused;
  failure.error.emplace();
  failure.error->code = message::Code::conflict;
  failure.error->ts = 7;
  CHECK_THAT(describe("put \"a\"", failure), Catch::Contains("the key's ts is 7"));
  CHECK(exit_of(failure) == Exit::negative);
}

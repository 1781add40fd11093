"""A client that keeps on: each request goes to server after server until its answer is final, and a write keeps its
(session, seq), so that it is done once, however often it is sent."""

import time
import uuid

import kv

# Nothing was done, or it is not known: both are what (session, seq) is for.
TRY_AGAIN = ("NO_LEADER", "UNKNOWN_OUTCOME", "SHUTTING_DOWN", "OVERLOADED", "TIMEOUT")


class RetryingClient:
    def __init__(self, nodes, turn=0):
        self.nodes = list(nodes)
        self.turn = turn
        self.client = None
        self.seq = 0
        self.retries = 0
        self.session = {"session": str(uuid.uuid4()), "session_from": self.ask("INIT", protocol=1)["applied"]}

    def close(self):
        if self.client:
            self.client.close()
            self.client = None

    def ask(self, type, **members):
        """The final answer of the first server that has one; an ERROR only where trying again would not help."""
        end = time.monotonic() + 60 * kv.SLOWDOWN
        while time.monotonic() < end:
            answer = self._try(type, members)
            if answer and answer.get("code") not in TRY_AGAIN:
                return answer
            self.retries += 1
            self.next_server()
        raise AssertionError(f"no server answers {type} {members}")

    def write(self, type, **members):
        """A write of this session."""
        self.seq += 1
        return self.ask(type, seq=self.seq, **self.session, **members)

    def _try(self, type, members):
        try:
            return self.connection().ask(type, timeout_ms=2000, **members)
        except (OSError, kv.Closed, kv.Timeout):
            return None

    def connection(self):
        """To the server whose turn it is: the same one until next_server()."""
        if not self.client:
            self.client = self.nodes[self.turn % len(self.nodes)].connect()
        return self.client

    def next_server(self):
        self.close()
        self.turn += 1
        time.sleep(0.005)  # not as fast as a server that is down can refuse

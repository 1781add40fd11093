"""Short requests with long answers: reads, and transactions that read. What one client asks for, and does not take,
costs neither the servers' memory nor the other clients their answers."""

import itertools
from pathlib import Path

import kv

VALUE_BYTES = 1_000_000
TRANSACTIONS = 150  # of three values each: 450 MB, more than any connection holds
MEMORY_BYTES = 250 << 20  # at most, of each server


def most_memory(node):
    return int(next(line.split()[1] for line in Path(f"/proc/{node.pid}/status").read_text().splitlines()
                    if line.startswith("VmHWM:"))) * 1024


class ManyReads(kv.TestCase):
    """Who asks for much at once gets all of it, as fast as he takes it; and a server does not hold it all for him."""

    CLIENTS, READS = 3, 150

    def test_many_big_answers_at_once(self):
        node = self.node().start().wait_ready()
        value = "x" * 1_000_000
        self.assert_message(node.ask("PUT", key="big", value=value), "PUT_OK")
        before = node.rss_bytes()
        clients = [node.connect(60) for _ in range(self.CLIENTS)]
        for client in clients:
            self.addCleanup(client.close)
            # Behind the reads: what has to wait for them to be taken, whatever it is.
            client.sent = [client.message("GET", key="big") for _ in range(self.READS)]
            client.sent.append(client.message("PUT", key="behind", value="y" * 100_000))
            client.send_all(client.sent)
        most = 0
        for client in clients:
            for sent in client.sent[:-1]:
                self.assert_message(client.receive(), "GET_OK", id=sent["id"], value=value)
                most = max(most, node.rss_bytes())
            self.assert_message(client.receive(), "PUT_OK", id=client.sent[-1]["id"])
        if kv.SLOWDOWN == 1:  # sanitizers have memory of their own
            self.assertLess(most - before, 120_000_000)
        self.assertNotIn("does not read its answers", node.log_text())


class Transactions(kv.TestCase):
    def ask_for_too_much(self, cluster, node):
        keys = ("a", "b", "c")
        with node.connect(60) as other:
            for key in keys:
                self.assert_message(other.ask("PUT", key=key, value="x" * VALUE_BYTES), "PUT_OK")
            alone = node.status()["connections"]
            # It reads nothing until it is closed.
            with node.connect(60, receive_buffer=4096) as greedy:
                reads = [{"op": "GET", "key": key} for key in keys]
                greedy.send_all([greedy.message("TXN", **{"then": reads}) for _ in range(TRANSACTIONS)])
                for number in itertools.count():
                    self.assert_message(other.ask("PUT", key="small", value=str(number)), "PUT_OK")
                    if node.status()["connections"] == alone:
                        break
        cluster.wait_same_state()
        for server in cluster:
            if kv.SLOWDOWN == 1:  # sanitizers have memory of their own
                self.assertLess(most_memory(server), MEMORY_BYTES, server.name)

    def test_at_a_follower(self):
        cluster = self.cluster()
        cluster.wait_ready()
        cluster.wait_leader()
        self.ask_for_too_much(cluster, cluster.followers()[0])

    def test_at_the_leader(self):
        cluster = self.cluster()
        cluster.wait_ready()
        self.ask_for_too_much(cluster, cluster.wait_leader())


if __name__ == "__main__":
    kv.main()

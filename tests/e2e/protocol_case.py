"""What the tests of single messages share: a cluster whose servers are asked in turn, and watches.

The cases run on three servers and, in a subclass with size = 1, on a single one."""

import itertools

import kv


class ProtocolCase(kv.TestCase):
    size = 3
    flags = kv.QUICK

    def setUp(self):
        self.servers = self.cluster(self.size, self.flags)
        self.turns = itertools.cycle(self.servers)
        self.ts = 0  # of the last write

    def ask(self, type, **members):
        """Asks the next server: whatever it is about must not depend on which."""
        return next(self.turns).ask(type, **members)

    def write(self, type, **members):
        """A write that is done: its answer. What is read with self.ts then sees it."""
        answer = self.assert_message(self.ask(type, **members), f"{type}_OK")
        self.ts = answer["ts"]
        return answer

    def put(self, key, value, **members):
        return self.write("PUT", key=key, value=value, **members)["ts"]

    def put_all(self, items, node=None):
        """Pipelines PUTs of (key, value) pairs: their ts."""
        with (node or next(self.turns)).connect(timeout=30) as client:
            puts = [client.message("PUT", key=key, value=value) for key, value in items]
            answers = client.ask_all(puts)
        positions = [self.assert_message(answers[put["id"]], "PUT_OK")["ts"] for put in puts]
        self.ts = positions[-1]
        return positions

    def watch(self, node, **members):
        watch = Watch(node, **members)
        self.addCleanup(watch.close)
        self.assert_message(watch.first, "WATCH_OK", node=node.name)
        return watch

    def assert_refused(self, cases, code="BAD_REQUEST"):
        """Each (type, members) gets an ERROR with the request's id, and the connection stays usable."""
        for node in self.servers:
            with node.connect() as client:
                for type, members in cases:
                    with self.subTest(f"{node.name}: {type} {str(members)[:200]}"):
                        self.assert_error(client.ask(type, **members), code)
                self.assert_message(client.ask("GET", key="a"), "GET_OK")


class Watch:
    """A WATCH on a connection of its own. `first` is what answered it."""

    def __init__(self, node, timeout=20.0, receive_buffer=None, **members):
        self.client = node.connect(timeout, receive_buffer)
        self.id = self.client.send("WATCH", **members)
        self.first = self.client.answer(self.id)

    def close(self):
        self.client.close()

    def next(self):
        """Its next message: an EVENT, or the ERROR that ends it."""
        return self.client.answer(self.id)

    def events(self, count):
        return [self.next() for _ in range(count)]

    def seen(self, count):
        """Its next events as (op, key, value, ts, whether more of this ts follow)."""
        return [told(event) for event in self.events(count)]


def told(event):
    assert event["type"] == "EVENT", event
    return event["op"], event["key"], kv.value_of(event), event["ts"], event.get("more", False)

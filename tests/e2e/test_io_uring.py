"""Servers with the kernel's ring (io_uring), without it, and where the kernel refuses it."""

import contextlib
import unittest

import kv
from test_durability import strace_works


def refuse(call):
    return ["strace", "-D", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error=EPERM"]


class IoUring(kv.TestCase):
    def put_and_get(self, node):
        with node.connect() as client:
            self.assert_message(client.ask("PUT", key="a", value="1"), "PUT_OK")
            self.assert_message(client.ask("GET", key="a"), "GET_OK")

    @unittest.skipUnless(kv.io_uring_works(), "the kernel has no io_uring for us")
    def test_it_is_used_where_it_is_there(self):
        node = self.node(flags=["--io-uring", "on"]).start()
        node.wait_ready()
        self.put_and_get(node)
        rings = [link for link in self.open_files(node) if "io_uring" in link]
        self.assertEqual(len(rings), 1)

    def test_off(self):
        node = self.node(flags=["--io-uring", "off"]).start()
        node.wait_ready()
        self.put_and_get(node)
        self.assertFalse([link for link in self.open_files(node) if "io_uring" in link])
        self.assertNotIn("io_uring", node.log_text())

    @unittest.skipUnless(strace_works(), "strace is not there or may not trace here")
    def test_a_refusal_is_said_and_done_without(self):
        for call in ("io_uring_setup", "io_uring_register", "io_uring_enter"):
            with self.subTest(call=call):
                node = self.refused("auto", call)
                node.wait_ready()
                self.put_and_get(node)
                node.wait_log(r"info.*no io_uring here \(Operation not permitted\)")
                node.stop_for_good()

    @unittest.skipUnless(strace_works(), "strace is not there or may not trace here")
    def test_a_refusal_of_what_has_to_be(self):
        node = self.refused("on")
        self.assertEqual(node.wait(), 1)
        self.assertIn("--io-uring on: the kernel refuses it: Operation not permitted", node.log_text())

    def refused(self, when, call="io_uring_setup"):
        node = self.node(name=call, flags=["--io-uring", when])
        node.under = refuse(call)
        node.environment |= {"ASAN_OPTIONS": "detect_leaks=0"}  # which a sanitizer can't do under a tracer
        return node.start()

    @unittest.skipUnless(strace_works(), "strace is not there or may not trace here")
    def test_the_last_answers_do_not_wait_for_the_disks(self):
        servers = self.cluster(3, [*kv.QUICK, "--snapshot-every", "1", "--preferred-leader", "n1"], start=False)
        leader = servers["n1"]
        # Its snapshots' thread gets stuck at its third one (strace counts each thread's calls), its log's does not.
        leader.under = ["strace", "-D", "-f", "-o", "/dev/null", "-e", "trace=fdatasync",
                        "-e", "inject=fdatasync:delay_enter=9000000:when=3+"]
        leader.environment |= {"ASAN_OPTIONS": "detect_leaks=0"}  # which a sanitizer can't do under a tracer
        servers.start().wait_ready()
        kv.wait_until("n1 leads", lambda: servers.wait_leader() == leader)
        with leader.connect() as client:
            for number in range(5):
                self.assert_message(client.ask("PUT", key="a", value=str(number)), "PUT_OK")
            for other in servers.followers():
                other.kill()
            client.send("PUT", key="a", value="of which nobody knows")
            leader.process.terminate()
            self.assert_error(client.receive(timeout=6), "UNKNOWN_OUTCOME")
        leader.stop_for_good()

    @staticmethod
    def open_files(node):
        links = []
        for descriptor in kv.Path(f"/proc/{node.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                links.append(str(descriptor.readlink()))
        return links


if __name__ == "__main__":
    kv.main()

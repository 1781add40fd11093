"""kvctl's shell: from a pipe, and on a terminal (a pseudo-terminal, with the keys a person would press)."""

import fcntl
import os
import re
import select
import struct
import subprocess
import termios
import time

import kv
from fake_server import SAY_NOTHING, FakeServer

CTRL_C, CTRL_D = "\x03", "\x04"
PROMPT = r"kv> $"


class Terminal:
    """A program on a pseudo-terminal of its own."""

    def __init__(self, words, env, cwd):
        self.master, slave = os.openpty()
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        # `setsid --ctty` makes it the controlling terminal, so that Ctrl-C is a SIGINT.
        self.process = subprocess.Popen([*kv.DIE_WITH_ME, "setsid", "--ctty", *words], stdin=slave, stdout=slave,
                                        stderr=slave, env=env, cwd=cwd)
        os.close(slave)
        self.seen = ""     # everything it has written
        self.position = 0  # how far expect() has come

    def type(self, keys):
        os.write(self.master, keys.encode())

    def text(self):
        """What it has written since the last expect(), without escape sequences and carriage returns."""
        text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[=>()][0-9A-B]?", "", self.seen[self.position:])
        return text.replace("\r", "")

    def expect(self, pattern, timeout=10.0):
        """Reads until the pattern is there; returns what came up to then."""
        end = time.monotonic() + timeout * kv.SLOWDOWN
        while not re.search(pattern, self.text()):
            left = end - time.monotonic()
            if left <= 0 or not self._read(left):
                raise AssertionError(f"no /{pattern}/ in {self.text()!r}")
        text = self.text()
        self.position = len(self.seen)
        if text.endswith("kv> "):
            # The prompt is there a moment before libedit reads key by key; a Ctrl-D in between would be lost.
            kv.wait_until("keys are read", lambda: not termios.tcgetattr(self.master)[3] & termios.ICANON)
        return text

    def _read(self, timeout):
        ready, _, _ = select.select([self.master], [], [], timeout)
        try:
            data = os.read(self.master, 65536) if ready else b""
        except OSError:  # the program has ended
            data = b""
        self.seen += data.decode("utf-8", "replace")
        return bool(data)

    def line(self, text, pattern=PROMPT, timeout=10.0):
        """Types a line and returns the output up to the next prompt."""
        self.type(text + "\n")
        return self.expect(pattern, timeout)

    def wait(self, timeout=5.0):
        """Waits for its end: the exit status."""
        end = time.monotonic() + timeout * kv.SLOWDOWN
        # What it writes must be read, or it may never end.
        while self.process.poll() is None and time.monotonic() < end:
            self._read(0.05)
        return self.process.wait(0.1)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.master)


class FromAPipe(kv.TestCase):
    def setUp(self):
        self.servers = self.cluster(3)

    def shell(self, script, *flags, status=0):
        return self.check(self.kvctl(*flags, endpoints=self.servers.endpoints(), stdin=script), status)

    def test_answers_only(self):
        result = self.shell("put colour blue\nget colour\ndel colour\nget colour\n", status=1)
        lines = result.stdout.splitlines()
        self.assertRegex(lines[0], r"^PUT_OK colour = blue   ts \d+   n[123]$", result)
        self.assertRegex(lines[1], r"^GET colour = blue   ts \d+   n[123]$", result)
        self.assertNotIn("kv>", result.stdout)
        self.assertNotIn("help for help", result.stdout)

    def test_quoting(self):
        result = self.shell("put 'two words' \"and 'a' value\"\nget two\\ words\n")
        self.assertRegex(result.stdout.splitlines()[1], r"^GET .*two words.* = .*and 'a' value", result)

    def test_init(self):
        result = self.check(self.kvctl(endpoints="127.0.0.1:1",
                                       stdin=f"init {self.servers.endpoints()}\nput a 1\nget a\n"))
        self.assertRegex(result.stdout, r"(?m)^GET a = 1   ts \d+   n[123]$", result)

    def test_stops_at_the_first_error(self):
        for wrong, status in (("nonsense\n", 2), ("put onlykey\n", 2), ("get 'no end\n", 2)):
            result = self.shell(f"put a 1\n{wrong}put a 2\n", status=status)
            self.assertEqual(len(result.stdout.splitlines()), 1, result)
            self.assertTrue(result.stderr, result)
        self.assertRegex(self.shell("get a\n").stdout, "a = 1 ")

    def test_keep_going(self):
        result = self.shell("put a 1\nnonsense\nput a 2\nget a\n", "--keep-going", status=2)
        self.assertRegex(result.stdout, r"(?m)^GET a = 2 ", result)

    def test_blank_lines_and_no_newline_at_the_end(self):
        result = self.shell("\n   \nput a 1\n\nget a")
        self.assertEqual(len(result.stdout.splitlines()), 2, result)
        self.shell("")

    def test_no_server(self):
        self.check(self.kvctl("--timeout", "1s", endpoints="127.0.0.1:1", stdin="put a 1\n"), 3, stderr="127.0.0.1:1")


class OnATerminal(kv.TestCase):
    def setUp(self):
        self.terminals = []

    def tearDown(self):
        for terminal in self.terminals:
            terminal.close()

    def open(self, endpoints, *flags, hints=False):
        """Without hints what was typed stands alone on its line."""
        env = self.kvctl_environment(TERM="xterm", NO_COLOR="" if hints else "1")
        terminal = Terminal([kv.KVCTL, "-e", endpoints, *flags], env, self.folder)
        self.terminals.append(terminal)
        return terminal

    def test_a_session(self):
        servers = self.cluster(3)
        terminal = self.open(servers.endpoints())
        banner = terminal.expect(PROMPT)
        self.assertRegex(banner, r"kvctl \d+\.\d+\.\d+ · 3 servers · leader n[123] · help for help")
        self.assertRegex(terminal.line("put colour blue"), r"PUT_OK colour = blue   ts \d+   n[123]")
        self.assertRegex(terminal.line("get colour"), r"GET colour = blue   ts \d+   n[123]")
        self.assertRegex(terminal.line(f"init {servers['n1'].address}"), r"n[123]")
        self.assertRegex(terminal.line("get colour"), r"GET colour = blue")
        self.assertRegex(terminal.line("help"), r"(?s)put.*get")
        self.assertRegex(terminal.line("help put"), r"(?i)put")
        self.assertRegex(terminal.line("nonsense"), r"nonsense")
        terminal.type(CTRL_D)
        self.assertEqual(terminal.wait(), 0)

    def test_history_is_kept_across_runs(self):
        node = self.node().start().wait_ready()
        terminal = self.open(node.address)
        terminal.expect(PROMPT)
        terminal.line("put colour blue")
        terminal.type(CTRL_D)
        self.assertEqual(terminal.wait(), 0)
        again = self.open(node.address)
        again.expect(PROMPT)
        again.type("\x1b[A")  # up
        again.expect("put colour blue")
        self.assertRegex(again.line(""), "PUT_OK colour = blue")
        again.type(CTRL_D)
        again.wait()
        files = [path for path in (self.folder / "state").rglob("*history*") if path.is_file()]
        self.assertEqual(len(files), 1)
        self.assertEqual(files[0].stat().st_mode & 0o077, 0, "values may be in it")

    def test_ctrl_c_at_the_prompt_drops_the_line(self):
        node = self.node().start().wait_ready()
        terminal = self.open(node.address)
        terminal.expect(PROMPT)
        terminal.type("put colour gre")
        terminal.expect("put colour gre")
        terminal.type(CTRL_C)
        terminal.expect(PROMPT)
        self.assertRegex(terminal.line("put colour blue"), "PUT_OK colour = blue")
        self.assertIsNone(terminal.process.poll())

    def test_ctrl_c_ends_the_running_command(self):
        with FakeServer({"GET": lambda _: SAY_NOTHING}) as fake:
            terminal = self.open(fake.address, "--timeout", "60s")
            terminal.expect(PROMPT)
            terminal.type("get a\n")
            fake.wait_for("GET")
            terminal.type(CTRL_C)
            terminal.expect(PROMPT, timeout=5)
            self.assertIsNone(terminal.process.poll(), "the shell goes on")
            terminal.type(CTRL_D)
            terminal.wait()

    def test_late_answers_do_not_end_the_shell(self):
        servers = self.late_cluster("n3", "500ms")
        terminal = self.open(servers.endpoints())
        terminal.expect(PROMPT)
        for number in range(300):  # it picks at random, and asks the one that is late in one of six or so
            terminal.line(f"put a {number}")
            text = terminal.line("get a", rf"(?s)GET a = {number} .*kv> $")
            if "WAIT_FOR_RESPONSE" in text:
                break
        else:
            self.fail("n3 was never asked")
        # Another one may have answered in its stead; this one does now.
        last = servers["n1"].status()["applied"]
        servers["n3"].wait_applied(last)
        self.assertRegex(terminal.line("get a"), rf"GET a = {number} ")
        terminal.type(CTRL_D)
        self.assertEqual(terminal.wait(), 0)

    def test_events_come_above_the_line_being_typed(self):
        servers = self.cluster(3)
        terminal = self.open(servers.endpoints())
        terminal.expect(PROMPT)
        terminal.line("watch --prefix col")
        terminal.type("put shape ro")
        terminal.expect("put shape ro")
        servers["n2"].ask("PUT", key="colour", value="red")
        terminal.expect(r"PUT colour = red   ts \d+\n(.*\n)*kv> put shape ro$")
        self.assertRegex(terminal.line("und"), "PUT_OK shape = round")
        self.assertRegex(terminal.line("jobs"), r"\[1\] watch --prefix col")
        terminal.type(CTRL_D)
        self.assertEqual(terminal.wait(), 0)

    def test_tab_completes_keys(self):
        node = self.node().start().wait_ready()
        node.ask("PUT", key="colours/dark blue", value="x")
        terminal = self.open(node.address)
        terminal.expect(PROMPT)
        self.assertRegex(terminal.line("get colo\t"), "GET colours/dark blue = x")

    def test_hints_say_what_comes_next(self):
        node = self.node().start().wait_ready()
        terminal = self.open(node.address, hints=True)
        terminal.expect(PROMPT)
        terminal.type("put ")
        terminal.expect(r"KEY VALUE")
        terminal.type("colour ")
        terminal.expect(r"VALUE")
        self.assertRegex(terminal.line("blue"), "PUT_OK")

    def test_control_characters_are_escaped(self):
        node = self.node().start().wait_ready()
        node.ask("PUT", key="a", value="red \x1b[31mand\x07bell")
        terminal = self.open(node.address)
        terminal.expect(PROMPT)
        terminal.line("get a")
        self.assertNotIn("\x1b[31m", terminal.seen.split("get a", 1)[1])
        self.assertNotIn("\x07bell", terminal.seen)


if __name__ == "__main__":
    kv.main()

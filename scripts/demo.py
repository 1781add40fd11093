"""What scripts/demo.sh plays: demo.py KVD KVCTL [--step] [--quick]."""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 60  # seconds, for whatever is waited for
COLUMNS, LINES = 160, 45

# What a server's window shows of its log: no heartbeats, nor what says nothing new; and no dates.
SHOWN = r"""
/heartbeat|debug .* (is here|is gone)|INIT/ { next }
/no link to/ { if (lost[$8]) next; lost[$8] = 1 }
/linked to/ { lost[$7 ":"] = 0 }
/REPLICATION_OK/ { if (seen[$5 $6] == $9) next; seen[$5 $6] = $9 }
{ sub(/^[^ ]+ /, ""); sub(/\.[0-9]+ (debug|info|warn) +n[0-9] +/, "  "); print; fflush() }
"""

SERVER = """#!/bin/sh
# Starts a server of the demonstration.
n=${{1#n}}
sh -c 'echo $$ > "{folder}/$0.pid"; exec "$@"' "$1" "{kvd}" --name "$1" --listen 127.0.0.1:741$n \\
  --peer-listen 127.0.0.1:751$n --cluster n1=127.0.0.1:7511,n2=127.0.0.1:7512,n3=127.0.0.1:7513 \\
  --data-dir "{folder}/$1" --log-level debug --preferred-leader n1 $2 $3 2>&1 | (trap '' INT; exec awk -f "{folder}/shown.awk")
"""


class Tmux:
    def __init__(self, folder):
        self.socket = folder / "tmux"

    def words(self, *words):
        return ["tmux", "-S", str(self.socket), "-f", "/dev/null", *words]

    def run(self, *words):
        return subprocess.run(self.words(*words), check=True, text=True, stdout=subprocess.PIPE,
                              stdin=subprocess.DEVNULL).stdout

    def end(self):
        subprocess.run(self.words("kill-server"), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


class Demo:
    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="kvd-demo-"))
        self.tmux = Tmux(self.folder)
        self.panes = {}
        self.failure = None

    # ---- The windows

    def prepare(self):
        programs = self.folder / "bin"
        programs.mkdir()
        for name, target in (("kvctl", self.options.kvctl), ("kvd", self.options.kvd)):
            (programs / name).symlink_to(os.path.abspath(target))
        server = programs / "server"
        server.write_text(SERVER.format(folder=self.folder, kvd=programs / "kvd"))
        server.chmod(0o755)
        (self.folder / "shown.awk").write_text(SHOWN)
        (self.folder / "bashrc").write_text("PS1='$ '\n")

    def shell(self, name):
        environment = {"PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}", "HOME": self.folder,
                       "XDG_STATE_HOME": self.folder / f"state-{name}", "TERM": "screen-256color", "LC_ALL": "C.UTF-8"}
        settings = " ".join(f"{key}='{value}'" for key, value in environment.items())
        return f"cd {self.folder} && exec env -i {settings} bash --rcfile {self.folder / 'bashrc'} --noprofile -i"

    def open_windows(self):
        run = self.tmux.run
        new = ("-P", "-F", "#{pane_id}")
        run("new-session", "-d", "-x", str(COLUMNS), "-y", str(LINES), *new, self.shell("n1"))
        first = run("list-panes", "-F", "#{pane_id}").strip()
        for option in (("status-position", "top"), ("status-style", "bg=colour24 fg=white bold"), ("status-right", ""),
                       ("status-left", " #{@caption}"), ("status-left-length", "150"), ("window-status-format", ""),
                       ("window-status-current-format", ""), ("pane-border-status", "top"),
                       ("pane-border-format", " #{pane_title} "), ("history-limit", "5000"), ("mouse", "off"),
                       ("pane-border-style", "fg=colour245"), ("pane-active-border-style", "fg=colour245")):
            run("set-option", "-g", *option)
        self.panes["n1"] = first
        self.panes["A"] = run("split-window", "-h", "-l", "48%", "-t", first, *new, self.shell("A")).strip()
        self.panes["B"] = run("split-window", "-v", "-l", "50%", "-t", self.panes["A"], *new, self.shell("B")).strip()
        self.panes["n2"] = run("split-window", "-v", "-l", "66%", "-t", first, *new, self.shell("n2")).strip()
        self.panes["n3"] = run("split-window", "-v", "-l", "50%", "-t", self.panes["n2"], *new, self.shell("n3")).strip()
        titles = {"n1": "server n1, 127.0.0.1:7411", "n2": "server n2, 127.0.0.1:7412",
                  "n3": "server n3, 127.0.0.1:7413", "A": "client A", "B": "client B"}
        for name, pane in self.panes.items():
            run("select-pane", "-t", pane, "-T", titles[name])
            self.wait(f"a prompt in window {name}", lambda: self.text(name).strip() == "$")

    def text(self, window):
        return self.tmux.run("capture-pane", "-p", "-J", "-S", "-", "-t", self.panes[window])

    # ---- What is played

    def wait(self, what, condition):
        until = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > until:
                shown = "\n".join(f"--- window {name}\n{self.text(name).rstrip()}" for name in self.panes)
                raise TimeoutError(f"waited {PATIENCE} s in vain for {what}\n{shown}")
            time.sleep(0.05)

    def pause(self, seconds):
        if not self.options.quick:
            time.sleep(seconds)

    def caption(self, text):
        if not self.is_shown:
            print(text, flush=True)
        self.tmux.run("set-option", "-g", "@caption", text)
        if self.options.step:
            self.tmux.run("set-option", "-g", "@caption", text + "   (space: go on)")
            self.tmux.run("wait-for", "next")
            self.tmux.run("set-option", "-g", "@caption", text)
        self.pause(2)

    def type(self, window, line):
        """Types a line, as someone would; what it shows is what stands below it."""
        if self.options.quick:
            self.tmux.run("send-keys", "-t", self.panes[window], "-l", line)
        for character in "" if self.options.quick else line:
            self.tmux.run("send-keys", "-t", self.panes[window], "-l", character)
            time.sleep(0.02)
        self.tmux.run("send-keys", "-t", self.panes[window], "Enter")

    def shows(self, window, pattern, below=""):
        """Waits until the window shows the pattern, below the last line that has the text `below`."""
        def is_there():
            text = self.text(window)
            return re.search(pattern, text[text.rfind(below) + len(below):] if below else text, re.M)

        self.wait(f"/{pattern}/ in window {window}", is_there)

    def command(self, window, line, pattern, pause=2.5):
        self.type(window, line)
        self.shows(window, pattern + r"[\s\S]*^\$", line)
        self.pause(pause)

    def restart(self, name, flags):
        self.tmux.run("send-keys", "-t", self.panes[name], "C-c")
        self.shows(name, r"stopped[\s\S]*^\$\s*$")
        self.tmux.run("clear-history", "-t", self.panes[name])
        line = f"server {name}{flags}"
        self.type(name, line)
        self.shows(name, "following n1", line + "\n")
        self.pause(2)

    def play(self):
        self.caption("Three servers: n1, n2, n3. They elect a leader")
        for name in ("n3", "n2", "n1"):
            self.type(name, f"server {name}")
        self.shows("n1", "now the leader")
        for name in ("n2", "n3"):
            self.shows(name, "following n1")
        self.pause(2)

        self.caption("1  PUT at the leader: REPLICATION to the others, REPLICATION_OK of a majority, PUT_OK")
        self.command("A", "kvctl -e 127.0.0.1:7411 put colour blue", "^OK")
        self.shows("n1", "PUT \"colour\"[\\s\\S]*REPLICATION[\\s\\S]*REPLICATION_OK[\\s\\S]*PUT_OK")

        self.caption("2  PUT at another server: n2 forwards it to the leader, and passes the answer on")
        self.command("B", "kvctl -e 127.0.0.1:7412 put shape round", "^OK")
        self.shows("n2", "PUT \"shape\"[\\s\\S]*FORWARD[\\s\\S]*PUT_OK")

        self.caption("3  GET: a server that has what the client has seen answers at once")
        self.command("A", "kvctl -e 127.0.0.1:7411 get colour", "^blue")
        self.command("B", "kvctl -e 127.0.0.1:7412 get shape", "^round")

        self.caption("4  n3 from now on applies everything 5 s late")
        self.restart("n3", " --delay-replication 5s")
        self.caption("5  GET at n3, which is behind: WAIT_FOR_RESPONSE, and then the value, on its own")
        self.command("A", "kvctl -e 127.0.0.1:7411 put colour red", "^OK", pause=0)
        self.command("A", "kvctl -e 127.0.0.1:7413 get colour", "n3 is behind .*waiting[\\s\\S]*^red")
        self.shows("n3", "WAIT_FOR_RESPONSE[\\s\\S]*GET_OK \"colour\"")

        self.caption("   n3 from now on is as fast as the others again")
        self.restart("n3", "")

        self.caption("6  The leader is killed: kill -9")
        self.command("A", "kill -9 $(cat n1.pid)", "")
        self.shows("n1", r"^\$ $|^\$\s*$")

        self.caption("7  Another one takes over, and takes writes: nothing is lost")
        self.command("A", "kvctl -e 127.0.0.1:7412,127.0.0.1:7413 put colour green", "^OK")
        self.command("B", "kvctl -e 127.0.0.1:7412,127.0.0.1:7413 list --values", "colour\\s+green[\\s\\S]*shape\\s+round")

        self.caption("8  n1 comes back, catches up, and leads again: --preferred-leader n1")
        self.type("n1", "server n1")
        self.shows("n1", "now the leader", "server n1\n")
        self.command("A", "kvctl -e 127.0.0.1:7411 get colour", "^green")
        self.command("B", "kvctl -e 127.0.0.1:7411 status", "n1 .*leader[\\s\\S]*n2 .*follower[\\s\\S]*n3 .*follower")
        self.caption("Every step was shown. This is all")
        self.pause(3)

    def run(self):
        self.is_shown = sys.stdout.isatty()
        self.prepare()
        self.open_windows()
        self.tmux.run("bind-key", "-n", "Space", "wait-for", "-S", "next")
        if self.is_shown:
            player = threading.Thread(target=self.play_and_end, daemon=True)
            player.start()
            environment = {key: value for key, value in os.environ.items() if key != "TMUX"}
            subprocess.run(self.tmux.words("attach"), env=environment, check=False)
            self.ended = True
            player.join(5)
        else:
            self.play()

    ended = False

    def play_and_end(self):
        try:
            self.play()
        except (TimeoutError, subprocess.CalledProcessError) as error:
            if not self.ended:
                self.failure = str(error)
        self.tmux.end()

    def end(self):
        for name in ("n1", "n2", "n3"):
            pid = self.folder / f"{name}.pid"
            if pid.exists() and self.is_ours(int(pid.read_text())):
                os.kill(int(pid.read_text()), 9)
        self.tmux.end()
        shutil.rmtree(self.folder, ignore_errors=True)

    def is_ours(self, pid):  # a number may have been given to another process since
        try:
            return str(self.folder) in pathlib.Path(f"/proc/{pid}/cmdline").read_text()
        except OSError:
            return False


def main():
    parser = argparse.ArgumentParser(prog="demo")
    parser.add_argument("kvd")
    parser.add_argument("kvctl")
    parser.add_argument("--step", action="store_true")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if not shutil.which("tmux"):
        sys.exit("demo: tmux shows the windows, and it is not installed: apt-get install tmux")
    if options.step and not sys.stdout.isatty():
        sys.exit("demo: --step needs a terminal")
    demo = Demo(options)
    try:
        demo.run()
    except (TimeoutError, subprocess.CalledProcessError) as error:
        demo.failure = str(error)
    except KeyboardInterrupt:
        demo.failure = "ended by Ctrl-C"
    finally:
        demo.end()
    if demo.failure:
        sys.exit(f"demo: {demo.failure}")


if __name__ == "__main__":
    main()

#!/usr/bin/python3
"""Submitted letters of 4 KiB, durable before each 250, to another server's MX: letters per second end to end (until the
last one is there), CPU and peak memory; ours beside Postfix and Exim in one run, in turn. The other server is Postfix's
smtp-sink. Every system gets the same load from the same program: sealed letters, over a few connections.

Ours verifies two signatures a letter; the others take what comes from loopback."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

from processes import Memory, cpu_of, reachable, tree
from scene import ROOT, SCRATCH, Scene, median, run, wait_for

LETTERS = int(os.environ.get("LETTERS", 10000))
ROUNDS = int(os.environ.get("ROUNDS", 3))
CONNECTIONS = int(os.environ.get("CONNECTIONS", 10))
#: Exim is slow enough to be measured by fewer.
EXIM_LETTERS = min(LETTERS, int(os.environ.get("EXIM_LETTERS", 1000)))
PEERS = os.environ.get("PEERS", "pillarbox postfix exim").split()


def main():
    peers = ROOT / "target/peers"
    run(["sh", ROOT / "tests/peers/unpack", peers])
    run(["cargo", "build", "--release", "--locked", "--example", "inject"], cwd=ROOT)
    with Scene("outbound") as scene:
        home = scene.key("me@here.example")
        # The stranger whose letters the peers would keep is another one.
        scene.zone += "else.example. 60 IN MX 10 mx.else.example.\nmx.else.example. 60 IN A 127.0.0.1\n"
        key = next((home.parent / "mail").glob("me@*.pem"))
        sink = Sink(scene, peers)
        systems = [SYSTEMS[name](scene, sink, peers) for name in PEERS]
        figures = {system.name: [] for system in systems}
        for round in range(ROUNDS):
            for system in systems:
                figures[system.name].append(measured(system, sink, key))
        print(f"letters of 4 KiB over {CONNECTIONS} connections   letters/s (rounds)   accepted/s   CPU ms/letter   peak MiB")
        rates = {}
        for system in systems:
            rate, accepted, cpu, memory = (median(column) for column in zip(*figures[system.name]))
            rounds = " ".join(f"{figure[0]:.0f}" for figure in figures[system.name])
            rates[system.name] = rate
            print(f"{system.name:>12} ({system.letters})   {rate:7.0f} ({rounds})   {accepted:7.0f}   {cpu:6.2f}   {memory / 1024:6.1f}")
        for name, rate in rates.items():
            if name != "pillarbox" and "pillarbox" in rates:
                print(f"ratio to {name}: {rates['pillarbox'] / rate:.2f}")


def measured(system, sink, key):
    """Rate end to end, rate of acceptance, CPU in ms per letter, peak memory in kB; in a place that is new."""
    with system:
        load = subprocess.Popen(
            [ROOT / "target/release/examples/inject", key, "me@here.example", "you@else.example",
             str(system.letters), "4096"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert load.stdout.readline() == "ready\n"
        before, cpu, watch = sink.count(), system.cpu(), Memory(system)
        begun = time.monotonic()
        load.stdin.write(f"{system.door} {CONNECTIONS} {system.letters}\n")
        load.stdin.flush()
        accepted = float(load.stdout.readline())
        while sink.count() - before < system.letters:
            if time.monotonic() - begun > 300:
                sys.exit(f"{system.name}: only {sink.count() - before} letters came")
            time.sleep(0.005)
        took = time.monotonic() - begun
        peak = watch.end()
        time.sleep(1)
        used = system.cpu() - cpu
        load.stdin.close()
        load.wait()
        return system.letters / took, system.letters / accepted, 1000 * used / system.letters, peak


class Sink:
    """smtp-sink, which counts what it gets."""

    def __init__(self, scene, peers):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.out = scene.dir / "sink.count"
        postfix = peers / "postfix"
        command = [postfix / "usr/sbin/smtp-sink", "-c", "-u", "root", f"127.0.0.1:{self.port}", "1024"]
        scene.child(command, stdout=open(self.out, "wb"), stderr=subprocess.DEVNULL, env=libraries(postfix))
        wait_for("smtp-sink", lambda: reachable(self.port))

    def count(self):
        text = self.out.read_bytes()[-200:]
        found = re.findall(rb"mesg[ =](\d+)", text)
        return int(found[-1]) if found else 0


class System:
    """A mail system that is started and ended for each round. `pids` are its processes."""

    letters = LETTERS

    def __init__(self, scene, sink, peers):
        self.scene, self.sink, self.peers = scene, sink, peers

    def cpu(self):
        return cpu_of(self.root)

    def pids(self):
        return tree(self.root)


class Pillarbox(System):
    name = "pillarbox"

    def __enter__(self):
        self.inner = Scene("ours").__enter__()
        self.inner.zone = self.scene.zone
        self.inner.serve(f"[relay]\nport = {self.sink.port}\nallow_private = true\n")
        self.door = "%s:%d" % self.inner.submission
        self.root = self.inner.server.pid

    def __exit__(self, *error):
        self.inner.__exit__(*error)


class Postfix(System):
    name = "postfix"

    def __enter__(self):
        self.place = place(self.scene, "postfix")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.door = f"127.0.0.1:{port}"
        command = ["sh", ROOT / "tests/peers/postfix", self.peers / "postfix", self.place, str(port), str(self.sink.port)]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE)
        wait_for("Postfix", lambda: reachable(port))
        self.root = self.child.pid

    def __exit__(self, *_):
        self.child.stdin.close()
        self.child.wait()
        shutil.rmtree(self.place)


class Exim(System):
    name = "exim"
    letters = EXIM_LETTERS

    def __enter__(self):
        self.place = place(self.scene, "exim")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.door = f"127.0.0.1:{port}"
        config = (ROOT / "tests/peers/exim.conf").read_text()
        config = config.replace("@PLACE@", str(self.place)).replace("@NEXT@", str(self.sink.port))
        config = config.replace("  accept domains = there.example\n  deny\n", "  accept\n")
        # As a daemon, which takes as many as come.
        config = f"daemon_smtp_ports = {port}\nlocal_interfaces = 127.0.0.1\nsmtp_accept_max = 300\n" \
            "smtp_accept_max_per_connection = 100000\n" + config
        (self.place / "conf").write_text(config)
        command = ["sh", ROOT / "tests/peers/exim", self.peers / "exim", self.place, "-bdf", "-q30m"]
        self.child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=open(self.place / "err", "wb"))
        wait_for("Exim", lambda: reachable(port))
        self.root = self.child.pid

    def __exit__(self, *_):
        for pid in self.pids():
            try:
                os.kill(pid, 15)
            except ProcessLookupError:
                pass
        self.child.wait()
        shutil.rmtree(self.place)


SYSTEMS = {system.name: system for system in (Pillarbox, Postfix, Exim)}


def place(scene, name):
    """A directory that another user may look into."""
    directory = pathlib.Path(SCRATCH) / f"bench-{name}-{os.getpid()}"
    directory.mkdir()
    directory.chmod(0o755)
    return directory


def libraries(postfix):
    paths = ":".join(str(path) for path in postfix.glob("usr/lib/**") if path.is_dir())
    return dict(os.environ, LD_LIBRARY_PATH=paths)


main()

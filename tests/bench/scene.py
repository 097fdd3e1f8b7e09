"""What the measurements stand on: the real binary serving on loopback, its name server, keys, and wires."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
PILLARBOX = os.environ.get("PILLARBOX", str(ROOT / "target/release/pillarbox"))
#: On the disk to be measured, not on a tmpfs.
SCRATCH = os.environ.get("BENCH_DIR", str(ROOT / "target"))
PATIENCE = 60

ZONE = """\
here.example. 60 IN MX 10 mx.here.example.
mx.here.example. 60 IN A 127.0.0.1
there.example. 60 IN MX 10 mx.there.example.
mx.there.example. 60 IN A 127.0.0.1
"""


class Scene:
    """A temporary directory with a server, its name server, and a home for each key. Leaving it ends them."""

    def __init__(self, name, program=PILLARBOX):
        self.name, self.program = name, program

    def __enter__(self):
        self.stack = contextlib.ExitStack()
        self.dir = pathlib.Path(tempfile.mkdtemp(prefix=f"bench-{self.name}-", dir=SCRATCH))
        self.stack.callback(shutil.rmtree, self.dir, ignore_errors=True)
        self.zone = ZONE
        return self

    def __exit__(self, *_):
        self.stack.close()

    def key(self, address):
        """A home with a key that the name server will know."""
        home = self.dir / address
        home.mkdir()
        config = home / "home.toml"
        config.write_text(f'server = "mx.here.example"\nmail = "{home}/mail"\noutbox = "{home}/outbox"\n')
        made = run([PILLARBOX, "--config", config, "key", "new", address, "--no-ed25519"])
        self.zone += made.stdout.decode()
        return config

    def serve(self, extra=""):
        """Starts name server and server; all keys must have been made."""
        (self.dir / "zone").write_text(self.zone)
        names = self.child([PILLARBOX, "try-dns", "--zone", self.dir / "zone"], stdout=subprocess.PIPE)
        resolver = names.stdout.readline().decode().strip()
        self.mail, self.state = self.dir / "mail", self.dir / "state"
        (self.mail / "here.example/me").mkdir(parents=True)
        self.config = self.dir / "server.toml"
        self.config.write_text(
            f'hostname = "mx.here.example"\nmail_root = "{self.mail}"\nstate_dir = "{self.state}"\n'
            f'[listen]\nmx = ["127.0.0.1:0"]\nsubmission = ["127.0.0.1:0"]\n[dns]\nservers = ["{resolver}"]\n'
            f"[limits]\nconnections_per_ip = 500\n{extra}"
        )
        self.start()

    def start(self):
        """Starts the server, and waits until its doors are open."""
        listening = self.state / "listening.json"
        listening.unlink(missing_ok=True)
        self.server = self.child(
            [self.program, "--config", self.config, "serve"], stderr=open(self.dir / "log", "ab")
        )
        wait_for("the server", listening.exists)
        told = json.loads(listening.read_text())
        address = lambda text: (text.rsplit(":", 1)[0], int(text.rsplit(":", 1)[1]))
        self.mx, self.submission = address(told["mx"][0]), address(told["submission"][0])

    def restart(self):
        """Ends the server in good manners, and starts it again on what it left; how many seconds each took."""
        begun = time.monotonic()
        self.server.terminate()
        self.server.wait(PATIENCE)
        ended = time.monotonic()
        self.start()
        return ended - begun, time.monotonic() - ended

    def child(self, command, **how):
        child = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, **how)

        def end():
            child.terminate()
            child.wait(PATIENCE)

        self.stack.callback(end)
        return child

    def status(self, what):
        """A figure of the server's /proc/PID/status, in kB."""
        for line in pathlib.Path(f"/proc/{self.server.pid}/status").read_text().splitlines():
            if line.startswith(what + ":"):
                return int(line.split()[1])
        raise KeyError(what)

    def cpu(self):
        """Seconds of CPU that the server has used."""
        fields = pathlib.Path(f"/proc/{self.server.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class Sink:
    """Another server's MX that takes everything; letters are given to `keep` as they came over the wire."""

    def __init__(self, keep=lambda letter: None):
        self.keep = keep
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self.listener.getsockname()[1]

    def __enter__(self):
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.close()

    def accept(self):
        while True:
            try:
                wire, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(wire,), daemon=True).start()

    def serve(self, wire):
        wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        file = wire.makefile("rb", 1 << 20)
        wire.sendall(b"220 mx.here.example ready\r\n")
        for line in file:
            verb = line[:4].upper()
            if verb == b"DATA":
                wire.sendall(b"354 go on\r\n")
                self.keep(b"".join(iter(file.readline, b".\r\n")))
                wire.sendall(b"250 2.0.0 taken\r\n")
            elif verb == b"EHLO":
                wire.sendall(b"250-mx.here.example\r\n250-PIPELINING\r\n250 8BITMIME\r\n")
            elif verb == b"QUIT":
                wire.sendall(b"221 2.0.0 bye\r\n")
                break
            else:
                wire.sendall(b"250 2.0.0 ok\r\n")
        wire.close()


def submitted(config, sender, recipients, letters):
    """The letters as `sendmail` puts them on the wire: signed, and sealed for mx.here.example. Each in a file."""
    kept = []
    with Sink(lambda letter: kept.append(letter)) as sink:
        for number, letter in enumerate(letters):
            command = [PILLARBOX, "--config", config, "-o", f"submit_via=smtp://127.0.0.1:{sink.port}"]
            run([*command, "sendmail", "-i", "-f", sender, *recipients], input=letter)
            path = config.parent / f"letter-{number}"
            path.write_bytes(kept.pop())
            yield path


def send(door, sender, recipient, path, answers):
    """One letter from a file, in slices; appends the reply to the dot."""
    with socket.create_connection(door, timeout=10 * PATIENCE) as wire, open(path, "rb") as letter:
        replies = wire.makefile("rb")

        def expect(said, code):
            if said:
                wire.sendall(said)
            while True:
                reply = replies.readline()
                if reply[3:4] != b"-":
                    break
            if not reply.startswith(code):
                raise RuntimeError(f"{said!r}: {reply!r}")
            return reply

        expect(b"", b"220")
        expect(b"EHLO mx.there.example\r\n", b"250")
        expect(f"MAIL FROM:<{sender}>\r\n".encode(), b"250")
        expect(f"RCPT TO:<{recipient}>\r\n".encode(), b"250")
        expect(b"DATA\r\n", b"354")
        while slice := letter.read(1 << 16):
            wire.sendall(slice)
        answers.append(expect(b".\r\n", b"250"))


def letter(sender, recipient, octets):
    """A plain letter of about so many octets."""
    line = b"All work and no play makes Jack a dull boy. 0123456789 0123456789 0123456789\r\n"
    head = f"From: {sender}\r\nTo: {recipient}\r\nSubject: a measurement\r\n\r\n".encode()
    return head + line * max(1, (octets - len(head)) // len(line))


def run(command, **how):
    done = subprocess.run([str(word) for word in command], capture_output=True, **how)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.returncode}: {done.stderr.decode()}")
    return done


def wait_for(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {PATIENCE} s")
        time.sleep(0.01)


def median(values):
    return statistics.median(values)

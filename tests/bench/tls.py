#!/usr/bin/python3
"""What TLS costs at strangers' door: letters per second and CPU of the server, in the clear and after STARTTLS, many letters over a
connection and one over each, beside Postfix with a key of the same kind; and memory for connections that are idle.

The client was here before, so it need not wait for its greeting. It verifies nothing, as most senders do."""

import multiprocessing
import os
import socket
import ssl
import time

from postfix import Postfix, arrived
from scene import ROOT, Scene, letter, median, run, wait_for

LETTERS = int(os.environ.get("LETTERS", 1000))
ROUNDS = int(os.environ.get("ROUNDS", 3))
CONNECTIONS = 4
IDLE = int(os.environ.get("IDLE", 400))
SENDER, RECIPIENT = "you@there.example", "me@here.example"


def main():
    run(["sh", ROOT / "tests/peers/unpack", ROOT / "target/peers"])
    rows = [(system, tls, each) for each in (100, 1) for system in (Pillarbox, Postfix) for tls in (False, True)]
    figures = {row: [] for row in rows}
    for _ in range(ROUNDS):
        for row in rows:
            figures[row].append(measured(*row))
    print("letters over each  what        wire      letters/s (rounds)          CPU ms/letter")
    for (system, tls, each), rounds in figures.items():
        rate, cpu = (median(column) for column in zip(*rounds))
        wire = "STARTTLS" if tls else "clear"
        shown = f"{rate:6.0f} ({' '.join(f'{figure[0]:.0f}' for figure in rounds)})"
        print(f"{each:17}  {system.name:10}  {wire:8}  {shown:26}  {cpu:13.2f}", flush=True)
    for tls in (False, True):
        idle(tls)


def measured(system, tls, each):
    with system(tls) as server:
        converse(server.door, tls, 1)
        wait_for("the first letter", lambda: server.came() == 1)
        before = server.cpu()
        took = load(server.door, tls, each)
        wait_for("the last letter", lambda: server.came() == LETTERS + 1)
        return LETTERS / took, 1000 * (server.cpu() - before) / LETTERS


def load(door, tls, each):
    """So many letters over several connections at once; how many seconds they took."""
    begun = time.monotonic()
    share = LETTERS // CONNECTIONS
    senders = [multiprocessing.Process(target=bring, args=(door, tls, each, share)) for _ in range(CONNECTIONS)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
        assert sender.exitcode == 0
    return time.monotonic() - begun


def bring(door, tls, each, count):
    for sent in range(0, count, each):
        converse(door, tls, min(each, count - sent))


def converse(door, tls, count):
    """Brings letters over one connection."""
    content = letter(SENDER, RECIPIENT, 4096)
    wire = Wire(door, tls)
    for _ in range(count):
        wire.ask(f"MAIL FROM:<{SENDER}>\r\nRCPT TO:<{RECIPIENT}>\r\nDATA\r\n".encode(), b"250", b"250", b"354")
        wire.ask(content + b".\r\n", b"250")
    wire.ask(b"QUIT\r\n", b"221")
    wire.close()


class Wire:
    """A session that has said EHLO, under TLS if that is wished."""

    def __init__(self, door, tls):
        host, port = door.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = self.socket.makefile("rb")
        self.ask(b"", b"220")
        self.ask(b"EHLO mx.there.example\r\n", b"250")
        if tls:
            self.ask(b"STARTTLS\r\n", b"220")
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.socket = context.wrap_socket(self.socket, server_hostname="mx.here.example")
            self.replies = self.socket.makefile("rb")
            self.ask(b"EHLO mx.there.example\r\n", b"250")

    def ask(self, said, *codes):
        if said:
            self.socket.sendall(said)
        for code in codes:
            while (reply := self.replies.readline())[3:4] == b"-":
                pass
            if not reply.startswith(code):
                raise RuntimeError(f"{said[:60]!r}: {reply!r}")

    def close(self):
        self.socket.close()


class Pillarbox:
    name = "pillarbox"

    def __init__(self, _tls):
        self.scene = Scene("tls")

    def __enter__(self):
        self.scene.__enter__()
        self.scene.serve()
        self.door = "%s:%d" % self.scene.mx
        return self

    def __exit__(self, *error):
        self.scene.__exit__(*error)

    def came(self):
        return arrived(self.scene.mail / "here.example/me/new")

    def cpu(self):
        return self.scene.cpu()


def idle(tls):
    """Memory for connections that have said EHLO and no more."""
    with Pillarbox(tls) as server:
        converse(server.door, tls, 1)
        before = server.scene.status("VmRSS")
        wires = [Wire(server.door, tls) for _ in range(IDLE)]
        after = server.scene.status("VmRSS")
        name = "STARTTLS" if tls else "clear"
        print(f"{IDLE} idle, {name:8}  VmRSS {before / 1024:.1f} -> {after / 1024:.1f} MiB, {(after - before) / IDLE:.1f} KiB each", flush=True)
        for wire in wires:
            wire.close()


main()

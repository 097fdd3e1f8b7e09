"""Postfix as an MX with one mailbox, for comparison."""

import os
import pathlib
import shutil
import socket
import subprocess

from processes import Memory, cpu_of, reachable, tree
from scene import ROOT, SCRATCH, run, wait_for


class Postfix:
    """It looks no name up, and verifies nothing; with `tls` it shows a certificate of its own."""

    name = "Postfix"

    def __init__(self, tls=False):
        self.place = pathlib.Path(SCRATCH) / f"bench-postfix-{os.getpid()}"
        self.tls = tls

    def __enter__(self):
        self.place.mkdir()
        if self.tls:
            run([
                "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                "/CN=mx.there.example", "-keyout", self.place / "key.pem", "-out", self.place / "chain.pem",
            ])
        (self.place / "settings").write_text(
            "virtual_mailbox_domains = here.example\nvirtual_mailbox_maps = inline:{me@here.example=friend/}\n"
            "smtpd_client_connection_count_limit = 0\n"
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.door = f"127.0.0.1:{port}"
        command = ["sh", ROOT / "tests/peers/postfix", ROOT / "target/peers/postfix", self.place, str(port), "9"]
        self.child = subprocess.Popen(command, stdin=subprocess.PIPE)
        wait_for("Postfix", lambda: reachable(port))
        self.memory = Memory(self)
        return self

    def __exit__(self, *_):
        self.memory.end()
        self.child.stdin.close()
        self.child.wait()
        shutil.rmtree(self.place)

    def pids(self):
        return tree(self.child.pid)

    def came(self):
        return arrived(self.place / "friend/new")

    def cpu(self):
        return cpu_of(self.child.pid)

    def peak(self):
        return self.memory.end()


def arrived(directory):
    try:
        return len(os.listdir(directory))
    except FileNotFoundError:
        return 0

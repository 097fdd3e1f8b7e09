"""Mail systems that consist of several processes: what they use together."""

import os
import pathlib
import re
import socket
import threading


class Memory:
    """The most that a system's processes have in memory together (PSS: what several share counts once), in kB."""

    def __init__(self, system):
        self.system, self.peak, self.over = system, 0, threading.Event()
        self.thread = threading.Thread(target=self.watch)
        self.thread.start()

    def watch(self):
        while not self.over.wait(0.1):
            self.peak = max(self.peak, sum(map(pss, self.system.pids())))

    def end(self):
        self.over.set()
        self.thread.join()
        return self.peak


def pss(pid):
    try:
        found = re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)
        return int(found[1]) if found else 0
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0


def tree(root):
    """The process and all that descend from it, or that were left to init with its process group."""
    children = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo.extend(children.get(pid, []))
    return found


def cpu_of(root):
    """Seconds of CPU of the process and its descendants, those included that have ended and were waited for."""
    total = 0
    for pid in tree(root):
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def reachable(port):
    try:
        socket.create_connection(("127.0.0.1", port)).close()
        return True
    except ConnectionRefusedError:
        return False

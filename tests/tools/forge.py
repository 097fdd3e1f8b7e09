#!/usr/bin/python3
"""Signs letters with whatever tags it is told, sense or nonsense, and puts the DKIM-Signature on top.

Reads jobs until the end of its input: a line KEY.pem TAB TAGS TAB LENGTH, then the letter; and answers each with a line
LENGTH, then the signed letter. TAGS is the field's value without bh= and b=. Reads RFC 6376 by itself and makes
signatures with openssl, so that it shares no mistake with what it tests.
"""
import base64
import hashlib
import re
import subprocess
import sys
import tempfile


def relaxed_value(value):
    value = re.sub(rb"\r\n", b"", value)
    return re.sub(rb"[ \t]+", b" ", value).strip(b" \t")


def header_line(name, value, canon):
    if canon == "relaxed":
        return name.lower().strip() + b":" + relaxed_value(value) + b"\r\n"
    return name + b":" + value


def body_canon(body, canon):
    if canon == "relaxed":
        lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
        body = b"\r\n".join(lines)
    while body.endswith(b"\r\n\r\n"):
        body = body[:-2]
    if body in (b"", b"\r\n"):
        return b"" if canon == "relaxed" else b"\r\n"
    return body if body.endswith(b"\r\n") else body + b"\r\n"


def fields_of(header):
    fields = []
    for line in re.findall(rb"[^\n]*\n", header):
        if line[:1] in b" \t" and fields:
            fields[-1][1] += line
        else:
            name, _, value = line.partition(b":")
            fields.append([name, value])
    return fields


def sign(key, algorithm, data):
    if algorithm.startswith("rsa"):
        digest = "-sha1" if algorithm.endswith("sha1") else "-sha256"
        return subprocess.run(["openssl", "dgst", digest, "-sign", key], input=data, stdout=subprocess.PIPE, check=True).stdout
    with tempfile.NamedTemporaryFile() as file:
        file.write(hashlib.sha256(data).digest())
        file.flush()
        command = ["openssl", "pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", file.name]
        return subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout


def forged(key, text, letter):
    tags = {name.strip(): value.strip() for name, _, value in (tag.partition("=") for tag in text.split(";"))}
    header, _, body = letter.partition(b"\r\n\r\n")
    algorithm, canon = tags["a"], (tags.get("c", "simple") + "/simple").split("/")
    body = body_canon(body, canon[1])
    if "l" in tags:
        body = body[: int(tags["l"])]
    hashed = (hashlib.sha1 if algorithm.endswith("sha1") else hashlib.sha256)(body).digest()
    value = b" %s; bh=%s; b=" % (text.encode(), base64.b64encode(hashed))
    data, left = b"", fields_of(header + b"\r\n")
    for name in re.sub(r"\s", "", tags["h"]).split(":"):
        at = [n for n, field in enumerate(left) if field[0].lower().strip() == name.lower().encode()]
        if at:
            data += header_line(*left.pop(at[-1]), canon[0])
    data += header_line(b"DKIM-Signature", value + b"\r\n", canon[0])[:-2]
    signature = base64.b64encode(sign(key, algorithm, data))
    return b"DKIM-Signature:" + value + signature + b"\r\n" + letter


for job in iter(sys.stdin.buffer.readline, b""):
    key, text, length = job.decode().split("\t")
    answer = forged(key, text, sys.stdin.buffer.read(int(length)))
    sys.stdout.buffer.write(b"%d\n" % len(answer) + answer)
    sys.stdout.buffer.flush()

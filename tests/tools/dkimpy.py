#!/usr/bin/python3
"""Signs a letter as dkimpy does: dkimpy.py KEY.pem SELECTOR DOMAIN [ed25519] < letter > signed"""
import sys

import dkim

key, selector, domain, *algorithm = sys.argv[1:]
letter = sys.stdin.buffer.read()
with open(key, "rb") as file:
    private = file.read()
if algorithm:
    # dkimpy wants the bare seed, which ends the PKCS #8 file.
    import base64

    der = base64.b64decode(b"".join(private.splitlines()[1:-1]))
    private = base64.b64encode(der[-32:])
signature = dkim.sign(
    letter,
    selector.encode(),
    domain.encode(),
    private,
    canonicalize=(b"relaxed", b"simple"),
    signature_algorithm=b"ed25519-sha256" if algorithm else b"rsa-sha256",
)
sys.stdout.buffer.write(signature + letter)

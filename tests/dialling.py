"""Run by a test in a network namespace of its own: `dialling.py RULES PORT`; prints who reached the port.

One JSON object: how many of fourteen connections of each address got through.
"""

import json
import socket
import subprocess
import sys

ATTEMPTS = 14


def dialled(source: str, target: str, port: int) -> int:
    """How many connections of this address were accepted; a dropped one is waited for for a moment."""
    reached = 0
    for _ in range(ATTEMPTS):
        try:
            with socket.create_connection((target, port), timeout=0.05, source_address=(source, 0)):
                reached += 1
        except TimeoutError:
            pass
    return reached


def main(rules: str, port: int) -> None:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    subprocess.run(["nft", "-f", rules], check=True)
    subprocess.run(["nft", "-f", rules], check=True)  # loaded again, it replaces itself
    found = {}
    with socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=200):
        for source, target in (("127.0.0.1", "127.0.0.1"), ("127.0.0.2", "127.0.0.1"), ("::1", "::1")):
            found[source] = dialled(source, target, port)
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

#!/usr/bin/env python3
"""What tools/spark.sh asks for: spark_state.py free-ports N | secret | has-workers WEB N | show WEB."""
import base64
import json
import secrets
import socket
import sys
import urllib.error
import urllib.request

TIMEOUT_S = 5


def read_state(web):
    # No proxy of the environment: the page is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(web + "/json/", timeout=TIMEOUT_S) as answer:
        return json.load(answer)


def free_ports(count):
    """All are open at once, so that they differ. Another process may take one before Spark does."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    return [listener.getsockname()[1] for listener in listeners]


def has_workers(web, count):
    try:
        state = read_state(web)
    except (OSError, ValueError, urllib.error.URLError):
        return False
    return state.get("status") == "ALIVE" and state.get("aliveworkers", 0) >= count


def show(web):
    try:
        state = read_state(web)
    except (OSError, ValueError, urllib.error.URLError) as error:
        print(f"rayx: the master's page {web} does not answer: {error}", file=sys.stderr)
        return False
    print(f"master {state['url']} is {state['status']}")
    for worker in state["workers"]:
        print(f"{worker['id']}: {worker['state']}, {worker['coresfree']} of {worker['cores']} cores free, "
              f"{worker['memoryfree']} of {worker['memory']} MiB free")
    for driver in state["activedrivers"]:
        print(f"{driver['id']}: {driver['state']}, {driver['mainclass']}")
    return True


def main(words):
    if words[:1] == ["free-ports"]:
        print(*free_ports(int(words[1])))
    elif words == ["secret"]:
        print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip("="))
    elif words[:1] == ["has-workers"]:
        return 0 if has_workers(words[1], int(words[2])) else 1
    elif words[:1] == ["show"]:
        return 0 if show(words[1]) else 1
    else:
        print(__doc__, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""What tools/spark.sh asks for: spark_state.py free-ports N | secret | has-workers WEB N | show WEB."""
import base64
import json
import secrets
import socket
import sys
import urllib.request

TIMEOUT_S = 5


def read_state(web):
    """The state of the active master, or None. WEB names one page or, behind commas, those of standby masters."""
    # No proxy of the environment: the page is on this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for host in web.removeprefix("http://").split(","):
        try:
            with opener.open(f"http://{host}/json/", timeout=TIMEOUT_S) as answer:
                state = json.load(answer)
        except (OSError, ValueError):
            continue
        if state.get("status") == "ALIVE":
            return state
    return None


def free_ports(count):
    """All are open at once, so that they differ. Another process may take one before Spark does."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    return [listener.getsockname()[1] for listener in listeners]


def has_workers(web, count):
    state = read_state(web)
    return state is not None and state.get("aliveworkers", 0) >= count


def show(web):
    state = read_state(web)
    if state is None:
        print(f"rayx: no master is active at {web}", file=sys.stderr)
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

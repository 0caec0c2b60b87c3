"""Simulates a plan on Ray; after the first round asks its servers as a stranger would, and kills an actor.

Prints what it found as JSON. A process of its own: Ray's driver leaves warnings behind that the test suite
would take for failures.
"""

import json
import os
import signal
import sys
import urllib.error
import urllib.request
from contextlib import suppress
from pathlib import Path

import grpc
import psutil
from watch import nobody_is_called

import sealora
from sealora.server.store import CheckpointStore

ACTOR = b"ray::ClientAppActor"
METHODS = (
    "NodeInfoGcsService/GetAllNodeInfo",
    "NodeManagerService/GetNodeStats",
    "ObjectManagerService/FreeObjects",
    "CoreWorkerService/GetCoreWorkerStats",
)
"""One method of each service that Ray's servers and actors offer, and that does nothing."""


def processes(mark: str) -> dict[int, bytes]:
    """The command of every live process that has this value in its environment, by its number."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdecimal() and mark.encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended, or is another user's
    return found


def asked(port, method, headers):
    """The name of the status that a call without content ends with."""
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(f"/ray.rpc.{method}")(b"", metadata=headers, timeout=10)
        except grpc.RpcError as error:
            return error.code().name
        return "OK"


def posted(port):
    """The HTTP status of a request for a surrounding in which actors would run; None if it is not HTTP."""
    try:
        request = urllib.request.Request(f"http://127.0.0.1:{port}/get_or_create_runtime_env", data=b"")
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except Exception:
        return None


def as_a_stranger():
    """Addresses that are listened on or connected to, and what servers answer with and without the token."""
    token = os.environ["RAY_AUTH_TOKEN"]
    (commands, connections), found = ours(), {"strangers": {}, "own": {}, "posted": {}}
    for port in listened(connections):
        for whose, headers in (("strangers", ()), ("own", (("authorization", f"Bearer {token}"),))):
            found[whose][port] = [asked(port, method, headers) for method in METHODS]
        if set(found["own"][port]) == {"UNAVAILABLE"}:
            found["posted"][port] = posted(port)
    for port in found["own"].keys() - listened(ours()[1]):  # of an idle worker that has ended meanwhile
        for answers in (found["strangers"], found["own"], found["posted"]):
            answers.pop(port, None)
    folder = Path(ray_folder())
    return {
        **found,
        "addresses": sorted({end.ip for one in connections for end in (one.laddr, one.raddr) if end}),
        "in_commands": sum(token in command for command in commands),
        "in_files": [str(path) for path in folder.rglob("*") if path.is_file() and holds(path, token)],
        "folder": str(folder),
        "mode": oct(folder.parent.stat().st_mode & 0o777),
        "token": len(token),
    }


def ours():
    """Commands and connections of this process and all that it has started."""
    commands, connections, me = [], [], psutil.Process()
    for process in [me, *me.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            commands.append(" ".join(process.cmdline()))
            connections += process.net_connections("inet")
    return commands, connections


def listened(connections):
    return {one.laddr.port for one in connections if one.status == psutil.CONN_LISTEN}


def ray_folder():
    from ray._private.worker import global_worker

    return global_worker.node.get_temp_dir_path()


def holds(path, token):
    return token.encode() in path.read_bytes()


def main() -> None:
    plan, out, mark = sys.argv[1:]
    save, found = CheckpointStore.save, {}

    def save_and_kill(store, checkpoint):
        save(store, checkpoint)
        if checkpoint.round == 1:
            found.update(as_a_stranger())
            actors = [number for number, command in processes(mark).items() if command.startswith(ACTOR)]
            os.kill(actors[0], signal.SIGKILL)
            found["actors"] = len(actors)

    CheckpointStore.save = save_and_kill
    with nobody_is_called() as calls:
        sealora.simulate(plan, out)
    left = [name for name in os.environ if name.startswith("RAY_AUTH")]
    print(json.dumps({**found, "calls": calls, "left": left, "kept": Path(found["folder"]).parent.exists()}))


if __name__ == "__main__":
    main()

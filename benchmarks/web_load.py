"""What users that poll and listen cost a job: its time alone and among them.

    python benchmarks/web_load.py --users 20

Starts a server, has a stem of the shipped player made for a song of a minute, alone and while so many users poll the
session and its job every second, follow its events and fetch ranges of its sound; in turns. Prints one line of JSON:
the medians of both, the difference in percent, and how long the users' requests took. The users are a process of their
own, at the lowest priority, for they would be on other machines.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from stage.client import Client, Session
from stage.errors import StageError


def user(address: str, id: str, file: str, until: float, times: list[float]) -> None:
    """A user that polls and listens until a time."""
    client, last = Client(address, token=""), 0.0
    while time.time() < until:
        began = time.perf_counter()
        session = client.ask("GET", f"/api/sessions/{id}")
        for job in session["jobs"]:
            client.ask("GET", f"/api/jobs/{job['id']}")
        if time.time() - last > 5:  # as a browser does that plays on
            first = random.randrange(1 << 20)
            headers = {"Range": f"bytes={first}-{first + (1 << 18)}"}
            with client.open("GET", f"/api/files/{file}", headers=headers) as answer:
                answer.read()
            last = time.time()
        times.append(time.perf_counter() - began)
        time.sleep(random.uniform(0.8, 1.2))


def follow(address: str, id: str, until: float) -> None:
    """The same user's events."""
    while time.time() < until:
        try:
            for _ in Client(address, token="", timeout=20).session(id).events():
                if time.time() > until:
                    return
        except (StageError, OSError):
            continue


def crowd(address: str, id: str, file: str, count: int, seconds: float, out: str) -> None:
    """So many users, in a process of their own."""
    os.nice(19)
    until, times = time.time() + seconds, []
    threads = [threading.Thread(target=user, args=(address, id, file, until, times)) for _ in range(count)]
    threads += [threading.Thread(target=follow, args=(address, id, until), daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads[:count]:
        thread.join()
    Path(out).write_text(json.dumps(times))


def made(session: Session, seed: int) -> float:
    """Seconds that a stem takes."""
    began = time.perf_counter()
    session.add("drums", seed=seed, takes=1)
    took = time.perf_counter() - began
    session.undo()
    return took


def request_ms(process: psutil.Process, client: Client, path: str, count: int = 400) -> float:
    """Milliseconds of the server's processor time that a request takes."""
    before = sum(process.cpu_times()[:2])
    for _ in range(count):
        client.ask("GET", path)
    return 1000 * (sum(process.cpu_times()[:2]) - before) / count


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--bars", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=5, help="0: only what a request costs the server")
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "stage", "web", "--port", "0", "--no-browser", "--data", f"{folder}/data"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            address = server.stdout.readline().split()[0].rstrip("/")
            session = Client(address, token="").begin(bpm=96, bars=options.bars)
            session.add("bass")
            file = session.track("bass")["takes"][0]["file"]
            job = session.play("take", track="bass")
            process = psutil.Process(server.pid)
            paths = f"/api/sessions/{session.id}", f"/api/jobs/{job['id']}"
            costs = [round(request_ms(process, session.client, path), 2) for path in paths]
            if not options.rounds:
                print(json.dumps({"session_request_cpu_ms": costs[0], "job_request_cpu_ms": costs[1]}))
                return 0
            made(session, 0)
            alone, among, waits, busy = [], [], [], []
            for seed in range(1, options.rounds + 1):
                alone.append(made(session, seed))
                out = f"{folder}/times"
                arguments = (address, session.id, file, options.users, 3 + 2 * alone[-1], out)
                users = context.Process(target=crowd, args=arguments)
                users.start()
                time.sleep(2)
                before, began = sum(process.cpu_times()[:2]), time.perf_counter()
                among.append(made(session, seed))
                busy.append((sum(process.cpu_times()[:2]) - before) / (time.perf_counter() - began))
                users.join()
                waits += json.loads(Path(out).read_text())
        finally:
            server.terminate()
            server.wait()
    more = [b / a - 1 for a, b in zip(alone, among)]
    figures = {
        "users": options.users,
        "seconds_of_music": round(options.bars * 4 * 60 / 96, 1),
        "alone": round(statistics.median(alone), 2),
        "among": round(statistics.median(among), 2),
        "more_percent": round(100 * statistics.median(more), 1),
        "server_percent_of_a_core": round(100 * statistics.median(busy), 1),
        "request_median_ms": round(1000 * statistics.median(waits), 1),
        "request_95_ms": round(1000 * sorted(waits)[int(0.95 * len(waits))], 1),
        "requests": len(waits),
        "session_request_cpu_ms": costs[0],
        "job_request_cpu_ms": costs[1],
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[2], 1),
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())

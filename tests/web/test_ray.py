"""Two replicas on Ray Serve answer while another process does the jobs, and one of them is killed."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import soundfile

from helpers.fakes import song
from helpers.servers import until
from stage import StageError
from stage.client import Client

SERVE = """
import sys
import ray
from ray import serve
from stage.web.ray_serve import app

ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[2])})
serve.run(app({"data": sys.argv[1], "replicas": "2", "debug": "true"}))
print("ready", flush=True)
sys.stdin.read()
serve.shutdown()
ray.shutdown()
"""


def names(client: Client, count: int = 30) -> set[str]:
    """The processes that answer so many requests."""
    found = set()
    for _ in range(count):
        with client.open("GET", "/api/health") as answer:
            found.add(answer.headers["x-process"])
    return found


@pytest.mark.slow
def test_two_replicas_of_which_one_is_killed(tmp_path, player):
    pytest.importorskip("ray.serve", reason="the cluster extra is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = tmp_path / "data"
    command = [sys.executable, "-m", "stage", "web", "--workers", "0", "--data", str(data), "--model", str(player)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    playing = subprocess.Popen(command, env=environment)
    serving = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(data), str(port)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        until((data / "stage.sqlite").exists, 60)
        line = ""
        while "ready" not in line:
            line = serving.stdout.readline()
            assert line, "Ray Serve ended"
        client = Client(f"http://127.0.0.1:{port}", token="")
        until(lambda: len(names(client)) == 2)

        soundfile.write(tmp_path / "tune.wav", song(4.0).T, 44100)
        session = client.begin(song=tmp_path / "tune.wav")
        track = session.add("drums", takes=2, seed=3)
        assert [take["seed"] for take in track["takes"]] == [3, 4]
        client.fetch(track["takes"][0]["file"], tmp_path / "take.flac")
        assert soundfile.info(tmp_path / "take.flac").frames == 4 * 44100
        events = session.events()
        first = next(events)
        assert first[0] in ("job", "session")
        events.close()

        before = names(client)
        os.kill(int(min(before)), signal.SIGKILL)
        job = session.queue("add", stem="bass")  # by the one that is left, or by a new one

        def answers() -> bool:
            try:
                return client.ask("GET", f"/api/jobs/{job['id']}")["state"] == "done"
            except StageError:
                return False

        until(answers, 120)
        assert [track["name"] for track in session.refresh().tracks] == ["drums", "bass"]
        until(lambda: len(names(client) - {min(before)}) == 2, 120)  # another one has taken its place
        session.export(tmp_path / "out.zip")
        kinds = [kind for kind, _, number in _until_quiet(session, first[2])]
        assert "job" in kinds and "session" in kinds
    finally:
        for process in (serving, playing):
            process.terminate()
        serving.wait(60)
        playing.wait(60)


def _until_quiet(session, last):
    """Events after one, up to that of the last change."""
    found = []
    for event in session.events(last):
        found.append(event)
        if event[0] == "job" and event[1]["do"] == "export" and event[1]["state"] == "done":
            return found


@pytest.mark.slow
def test_settings_that_are_none_are_refused():
    pytest.importorskip("ray.serve", reason="the cluster extra is not installed")
    from stage.web.ray_serve import app

    wrong = [{}, {"data": "x", "colour": "1"}, {"data": "x", "port": "x"}, {"data": "x", "host": "0.0.0.0"}]
    for given in wrong:
        with pytest.raises(StageError):
            app(given)

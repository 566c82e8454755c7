"""The server's application on Ray Serve (`stage[cluster]`): replicas that answer, while `stage web --workers 0` does
the jobs of the same folder (docs/web.md).

    serve run stage.web.ray_serve:app data=/srv/stage replicas=2
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, get_type_hints

from ray import serve
from ray.serve import Application

from stage.errors import StageError
from stage.web.serve import SETTINGS, replica
from stage.web.settings import Settings

AT_ONCE = 1000
"""Requests that a replica may have open: an event stream is one for as long as its page is."""
CORES = 0.1
"""What Ray counts a replica as; the models are not in it."""


def app(given: dict[str, str]) -> Application:
    """The application for `serve run` and `serve.run`. given: `replicas`, and fields of `Settings` by name, `data` at
    least, as text. Raises StageError for what is not a setting."""
    values = dict(given)
    replicas = _typed("replicas", int, values.pop("replicas", "2"))
    hints = get_type_hints(Settings)
    for name in values:
        if name not in hints or name == "hosts":
            raise StageError(f"there is no setting {name!r}: choose from {', '.join(hints)}, and replicas")
    if "data" not in values:
        raise StageError("name the folder: data=FOLDER, that of `stage web --workers 0`")
    settings: dict[str, Any] = {name: _typed(name, hints[name], text) for name, text in values.items()}
    settings["data"] = settings["data"].resolve()
    checked = dataclasses.asdict(Settings(**settings))
    environment = {SETTINGS: json.dumps(checked | {"data": str(checked["data"])})}
    deployment = serve.deployment(
        serve.ingress(replica)(),
        name="stage",
        num_replicas=replicas,
        max_ongoing_requests=AT_ONCE,
        ray_actor_options={"num_cpus": CORES, "runtime_env": {"env_vars": environment}},
    )
    return deployment.bind()


def _typed(name: str, kind: Any, text: str) -> Any:
    try:
        if kind is bool:
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        return kind(text)
    except (ValueError, KeyError):
        raise StageError(f"{name} cannot be {text!r}") from None

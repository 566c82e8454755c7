"""Health, metrics, models and demo songs."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Depends
from fastapi.responses import PlainTextResponse

import stage
from stage.checkpoints import installed, settings
from stage.checkpoints.licences import terms
from stage.models.playable import INSTRUMENTS
from stage.web import metrics, preparing
from stage.web.database import ENDED
from stage.web.errors import answers
from stage.web.schemas import Demo, Health, ModelInfo
from stage.web.server import Server, server_of
from stage.web.settings import Settings

router = APIRouter(prefix="/api", tags=["about"])
bare = APIRouter(tags=["about"])
On = Annotated[Server, Depends(server_of)]

PRECISIONS = ("auto", "float32", "float16", "bf16", "int8", "int4")


@router.get("/health", response_model=Health, responses=answers())
async def health(server: On):
    """Whether the server answers, and how many jobs wait or run."""
    counts = server.database.counts()
    queue = sum(n for state, n in counts.items() if state not in ENDED)
    return {"status": "ok", "version": stage.__version__, "queue": queue, "token": bool(server.settings.token)}


@router.get("/models", response_model=list[ModelInfo], responses=answers())
def models(server: On):
    """The models at hand."""
    chosen = installed.find(server.settings.model)
    shown = []
    for model in models_of(server.settings):
        events = _plays_events(str(model.path))
        shown.append(
            {
                "name": model.name,
                "title": model.name,
                "default": model.path == chosen,
                "stems": list(model.stems),
                "instruments": {s: list(INSTRUMENTS.get(s, {})) for s in model.stems} if events else {},
                "kind": "events" if events else "codes",
                "precisions": list(PRECISIONS),
                "precision": server.settings.precision if server.settings.precision != "auto" else model.precision,
                "licence": terms(model.licence),
                "size": model.size,
            }
        )
    return shown


def models_of(settings: Settings) -> list[installed.Installed]:
    """The models that can be chosen: those at hand, and that of the server where it is a folder somewhere else."""
    known = [model for model in installed.installed() if model.precision != installed.DAMAGED and model.stems]
    chosen = installed.find(settings.model)
    return known if chosen in [model.path for model in known] else [*known, installed.describe(chosen)]


@cache
def _plays_events(path: str) -> bool:
    return settings.read(Path(path)).events is not None


@router.get("/demos", response_model=list[Demo], responses=answers())
def demos():
    """Songs to begin with."""
    if preparing.recording() is None:
        return []
    return [
        {"id": id, "title": demo.title, "licence": demo.licence, "seconds": demo.seconds}
        for id, demo in preparing.DEMOS.items()
    ]


@bare.get("/metrics", response_class=PlainTextResponse, responses=answers())
def figures(server: On):
    """Figures for Prometheus."""
    return PlainTextResponse(metrics.text(server), media_type="text/plain; version=0.0.4")

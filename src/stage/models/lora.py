"""Adapters: a new stem on a frozen decoder by low-rank changes to its linear layers (LoRA, arXiv 2106.09685).

    y = W x + (alpha / rank) B A x        W [out, in] frozen, A [rank, in] drawn, B [out, rank] zero at first

Matrices that the decoder fuses (``qkv``, ``cross_kv``) have one A and one B for queries, keys and values together.
An adapter also owns what names its stem: the separator's row of each embedding table and, in models whose
positions restart, the segment of the target. ``Voice`` is a decoder that plays one adapter. It borrows every weight of
the base and has no state that is switched: the base stays as it is, and any number of voices may be stepped in any
order, or a voice be dropped while it is played elsewhere.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage.config import DecoderConfig
from stage.errors import StageError
from stage.fingerprint import of_bytes
from stage.models.alike import apart, kind_of, together
from stage.models.decoder import Decoder, sinusoids
from stage.models.described import described
from stage.models.precision import MATRICES, plain_weights

ATTENTION = ("qkv", "self_out")
"""What is changed by default: the self-attention alone (as in the paper, section 4.2)."""


@dataclass(frozen=True)
class AdapterConfig:
    """What an adapter is, and which base it belongs to.

    name: its own. stem: the instrument. base: the base's name; shape: its configuration, with this stem alone.
    fingerprint: of the base's weights (see ``fingerprint``). layers: which of ``MATRICES`` it changes, in every layer.
    """

    name: str
    stem: str
    base: str = ""
    fingerprint: str = ""
    shape: DecoderConfig = field(default_factory=DecoderConfig)
    rank: int = 16
    alpha: float = 16.0
    layers: tuple[str, ...] = ATTENTION
    licence: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        for what in ("name", "stem", "base", "fingerprint", "licence"):
            if not isinstance(getattr(self, what), str):
                raise ValueError(f"{what} is {getattr(self, what)!r}, not text")
        if not self.name or not self.stem:
            raise ValueError("an adapter has a name and a stem")
        object.__setattr__(self, "shape", replace(self.shape, stems=(self.stem,)))
        if isinstance(self.rank, bool) or not isinstance(self.rank, int) or not 1 <= self.rank <= 65536:
            raise ValueError(f"the rank is a number from 1 to 65536, not {self.rank!r}")
        if isinstance(self.alpha, bool) or not isinstance(self.alpha, (int, float)) or not 0 < self.alpha < math.inf:
            raise ValueError(f"alpha is a number above 0, not {self.alpha!r}")
        if not self.layers or set(self.layers) - set(MATRICES):
            raise ValueError(
                f"layers are some of {', '.join(MATRICES)}, not {', '.join(map(str, self.layers)) or 'none'}"
            )

    @property
    def scale(self) -> float:
        """What B A x is weighed with."""
        return self.alpha / self.rank


def fingerprint(decoder: Decoder) -> str:
    """16 hex digits of a decoder's norms, rounded to bf16: the same in every precision, another after another
    training."""
    norms = [norm.weight for layer in decoder.layers for norm in (layer.self_norm, layer.cross_norm, layer.ffn_norm)]
    with torch.no_grad():
        rounded = torch.cat([w.reshape(-1) for w in (*norms, decoder.norm.weight)]).to("cpu", torch.bfloat16)
    return of_bytes(rounded.view(torch.int16).numpy().tobytes())


def sizes(shape: DecoderConfig) -> dict[str, tuple[int, int]]:
    """(in, out) features of each of ``MATRICES``."""
    dim, ffn = shape.dim, shape.ffn_dim
    outputs = {"qkv": (dim, 3 * dim), "cross_kv": (dim, 2 * dim), "up": (dim, ffn), "down": (ffn, dim)}
    return {name: outputs.get(name, (dim, dim)) for name in MATRICES}


class Delta(nn.Module):
    """A [rank, in] and B [out, rank] of one linear layer."""

    def __init__(self, inputs: int, outputs: int, rank: int) -> None:
        super().__init__()
        self.a = nn.Parameter(inputs**-0.5 * torch.randn(rank, inputs))
        self.b = nn.Parameter(torch.zeros(outputs, rank))

    def forward(self, x: Tensor) -> Tensor:
        """B A x for x [..., in], in the dtype of x."""
        return F.linear(F.linear(x, self.a.to(x.dtype)), self.b.to(x.dtype))


class LoraLinear(nn.Module):
    """Any module from [..., in] to [..., out], with a low-rank change on top."""

    def __init__(self, base: nn.Module, delta: Delta, scale: float) -> None:
        super().__init__()
        self.base, self.delta, self.scale = base, delta, scale
        self.in_features, self.out_features = delta.a.shape[1], delta.b.shape[0]

    def forward(self, x: Tensor) -> Tensor:
        """x [..., in] -> [..., out]."""
        return self._add(self.base(x), self.delta(x))

    def each(self, x: Tensor, rows: int) -> Tensor:
        """x [branches * V, in] -> [branches * V, out], each variation as if it were alone (``models/alike.py``)."""
        return self._add(together(self.base, x, rows, kind_of(self.base)), apart(self.delta, x, rows))

    def _add(self, y: Tensor, delta: Tensor) -> Tensor:
        return torch.add(y, delta.to(y.dtype), alpha=self.scale)


class Adapter(nn.Module):
    """The weights of an adapter; all of them are trained, and nothing else is.

    separator: [K, D], the token that names the stem. segment: [D], in models whose positions restart.
    layers: for each layer of the decoder the ``Delta`` of each linear layer.
    """

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config, shape = config, config.shape
        self.separator = nn.Parameter(torch.zeros(shape.codebooks, shape.dim))
        if shape.restart:
            self.segment = nn.Parameter(torch.zeros(shape.dim))
        known = sizes(shape)
        deltas = ({name: Delta(*known[name], config.rank) for name in config.layers} for _ in range(shape.layers))
        self.layers = nn.ModuleList(nn.ModuleDict(one) for one in deltas)


def new_adapter(
    decoder: Decoder,
    stem: str,
    name: str = "",
    base: str = "",
    like: str | None = None,
    rank: int = 16,
    alpha: float | None = None,
    layers: tuple[str, ...] = ATTENTION,
    licence: str = "",
    seed: int = 0,
) -> Adapter:
    """An adapter to train on this decoder; it changes nothing yet.

    stem: what it will play. name: the stem's by default. base: the model's name. alpha: the rank by default.
    like: the stem of the base that it begins as; by default the same stem, or the base's first where it has none.
    Raises StageError for values that no adapter has.
    """
    stems = decoder.config.stems
    if like is not None and like not in stems:
        raise StageError(f'an adapter can begin as a stem that the base plays ({", ".join(stems)}), not as "{like}"')
    try:
        config = AdapterConfig(
            name or stem,
            stem,
            base,
            fingerprint(decoder),
            decoder.config,
            rank,
            float(rank) if alpha is None else alpha,
            layers,
            licence,
        )
    except (ValueError, TypeError) as error:
        raise StageError(f"no such adapter can be made: {error}") from None
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        adapter = Adapter(config)
    if stems:
        row = stems.index(like or (stem if stem in stems else stems[0]))
        with torch.no_grad():
            adapter.separator.copy_(decoder.embed[:, decoder.config.separator(row)])
            if config.shape.restart:
                adapter.segment.copy_(decoder.segment[row])
    return adapter.to(decoder.device)


def check_base(adapter: AdapterConfig, decoder: Decoder, name: str = "this one") -> None:
    """Raise StageError if an adapter belongs to another base than this decoder."""
    theirs, ours = adapter.shape, decoder.config
    wanted = f'the adapter "{adapter.name}" was made for the base "{adapter.base or "without a name"}"'
    names = [key for key in vars(theirs) if key != "stems" and getattr(theirs, key) != getattr(ours, key)]
    if names:
        differences = ", ".join(f"{key} {getattr(theirs, key)} and not {getattr(ours, key)}" for key in names[:3])
        raise StageError(f"{wanted}, a model of another shape than {name} ({differences}): load that base")
    if adapter.fingerprint != fingerprint(decoder):
        raise StageError(f"{wanted}; {name} has the same shape but other weights: load the base that it was trained on")


class Voice(Decoder):
    """A frozen base with one adapter: a decoder that plays the adapter's stem, the only one in its ``config.stems``.

    Borrows the base's weights, so it costs the memory of the adapter alone. Gradients reach the adapter's parameters
    only: ``torch.optim.AdamW(voice.adapter.parameters())`` trains it (over float32 or bf16 weights).
    """

    def __init__(self, base: Decoder, adapter: Adapter) -> None:
        with described():  # everything is replaced below
            super().__init__(adapter.config.shape)
        _borrow(self, base, {"layers"})
        for own, layer, deltas in zip(self.layers, base.layers, adapter.layers):
            _borrow(own, layer)
            for name, delta in deltas.items():
                setattr(own, name, LoraLinear(getattr(layer, name), delta, adapter.config.scale))
        self.adapter = adapter
        self.engine = None if base.engine is None else base.engine.adapted(adapter)
        self.base_stems = len(base.config.stems)
        base.requires_grad_(False)
        self.train(base.training)

    def embed_columns(self, columns: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
        """See ``Decoder.embed_columns``: the base's rows, and the adapter's where its stem is named."""
        config = self.config
        named = columns == config.separator(0)
        # tokens that close a context stand behind the stems, of which the base has another number
        tokens = torch.where(columns > config.separator(0), columns + (self.base_stems - 1), columns).masked_fill(
            named, config.pad
        )
        offsets = torch.arange(config.codebooks, device=columns.device) * self.embed.shape[1]
        rows = F.embedding(tokens.transpose(1, 2) + offsets, self.embed.flatten(0, 1))
        x = torch.where(named.transpose(1, 2)[..., None], self.adapter.separator.to(rows.dtype), rows).sum(2)
        if config.restart:
            others = F.embedding((segments - 1).clamp(min=0) + self.base_stems, self.segment)
            x = x + torch.where((segments == 0)[..., None], self.adapter.segment.to(others.dtype), others)
        if config.positions == "sinusoidal":
            x = x + sinusoids(positions, config.dim).to(x.dtype)
        return x


def _borrow(own: nn.Module, base: nn.Module, leave: set[str] = frozenset()) -> None:
    """Put the parameters, buffers and children of a module into another of the same kind."""
    for name, tensor in (
        *base._parameters.items(),
        *base.named_children(),
    ):  # a parameter is None where its weights are packed
        if name not in leave:
            setattr(own, name, tensor)
    for name, buffer in base.named_buffers(recurse=False):
        own.register_buffer(name, buffer, persistent=name not in base._non_persistent_buffers_set)


@torch.no_grad()
def merge(base: Decoder, adapter: Adapter) -> Decoder:
    """A plain decoder that plays what the base plays with the adapter, and that stem alone.

    The base is not touched; weights that the adapter does not change are shared with it.
    Raises StageError where they are packed in fewer than 16 bits (``models/precision.py``).
    """
    config, scale = adapter.config.shape, adapter.config.scale
    weights = plain_weights(base)
    stems = len(base.config.stems)

    def own_row(table: Tensor, first: int, row: Tensor) -> Tensor:
        """A table [..., R, D] with one row in place of the base's stems."""
        return torch.cat([table[..., :first, :], row.to(table)[..., None, :], table[..., first + stems :, :]], dim=-2)

    weights["embed"] = own_row(weights["embed"], config.separator(0), adapter.separator)
    if config.restart:
        weights["segment"] = own_row(weights["segment"], 0, adapter.segment)
    for i, deltas in enumerate(adapter.layers):
        for name, delta in deltas.items():
            old = weights[f"layers.{i}.{name}.weight"]
            weights[f"layers.{i}.{name}.weight"] = (
                old.float() + scale * (delta.b.float() @ delta.a.float()).to(old.device)
            ).to(old.dtype)
    with described():
        merged = Decoder(config)
    merged.load_state_dict(weights, assign=True)
    return merged.eval().requires_grad_(False)

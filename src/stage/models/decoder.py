"""The decoder: MusicGen's transformer (arXiv 2306.05284, section 2) over the columns of a STAGE row.

Pre-norm self-attention, cross-attention to the text and a feed-forward part; no biases in the
linear layers. Weights of all codebooks are fused: one embedding [K, R, D], one head [K, V, D].
Training runs whole rows (``forward``); generation prefills a ``Cache`` once for each branch of
the guidance and then goes column by column over the rows of all branches together (``step``), so that a variation
does not depend on the others (``models/alike.py``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from stage.config import DecoderConfig
from stage.models.alike import apart, kind_of, separately, together
from stage.models.cache import Cache, Memory
from stage.models.context_encoder import ContextEncoder
from stage.models.described import drawn
from stage.prefix import Row, target_states


def sinusoids(positions: Tensor, dim: int) -> Tensor:
    """[cos | sin] of position / 10000^(i / (dim/2 - 1)): positions [...] -> [..., dim] float32."""
    half = dim // 2
    rates = torch.exp(-math.log(10000.0) / (half - 1) * torch.arange(half, device=positions.device))
    angles = positions[..., None].float() * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def rotation(positions: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding (arXiv 2104.09864): [..., head_dim / 2] each."""
    half = head_dim // 2
    rates = 10000.0 ** (-torch.arange(half, device=positions.device) / half)
    angles = positions[..., None].float() * rates
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate x [B, S, H, d] by cos, sin [B, S, 1, d/2]."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def blank_text(text: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Projected text [B, L, D] and mask [B, L] as ``Decoder.forward`` takes them.

    What is masked becomes zero; a row without text attends to one zero vector.
    """
    text = text * mask[..., None]
    mask = mask.clone()
    mask[:, 0] |= ~mask.any(1)
    return text, mask


class Layer(nn.Module):
    """One layer. Hidden states are [B, S, D]."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        dim, ffn = config.dim, config.ffn_dim
        self.heads, self.head_dim = config.heads, dim // config.heads
        self.self_norm = nn.LayerNorm(dim)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.self_out = nn.Linear(dim, dim, bias=False)
        self.cross_norm = nn.LayerNorm(dim)
        self.cross_q = nn.Linear(dim, dim, bias=False)
        self.cross_kv = nn.Linear(dim, 2 * dim, bias=False)
        self.cross_out = nn.Linear(dim, dim, bias=False)
        self.ffn_norm = nn.LayerNorm(dim)
        self.up = nn.Linear(dim, ffn, bias=False)
        self.down = nn.Linear(ffn, dim, bias=False)

    def split(self, x: Tensor) -> Tensor:
        """[B, S, n * D] -> [B, S, n * H, d]."""
        return x.unflatten(-1, (-1, self.head_dim))

    def project(self, x: Tensor, turn: tuple[Tensor, Tensor] | None) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values [B, S, H, d] of normalised hidden states."""
        qkv = self.split(self.qkv(self.self_norm(x)))
        qk, v = qkv[:, :, : 2 * self.heads], qkv[:, :, 2 * self.heads :]
        if turn is not None:
            qk = rotate(qk, *turn)
        return qk[:, :, : self.heads], qk[:, :, self.heads :], v

    def text(self, text: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, H, L, d] of projected text [B, L, D]."""
        k, v = self.split(self.cross_kv(text)).transpose(1, 2).chunk(2, dim=1)
        return k, v

    def cross(self, x: Tensor, text: tuple[Tensor, Tensor], mask: Tensor | None) -> Tensor:
        """x plus its attention to the text; mask [B, 1, 1, L] bool."""
        q = self.split(self.cross_q(self.cross_norm(x))).transpose(1, 2)
        y = F.scaled_dot_product_attention(q, *text, attn_mask=mask)
        return x + self.cross_out(y.transpose(1, 2).flatten(2))

    def feed(self, x: Tensor) -> Tensor:
        """x plus the feed-forward part."""
        return x + self.down(F.gelu(self.up(self.ffn_norm(x))))

    def forward(
        self,
        x: Tensor,
        turn: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        text: Tensor | None,
        over: Tensor | None,
    ) -> Tensor:
        """Whole rows [B, S, D], as in training. mask: [B, 1, S, S] bool, None: causal alone; over: [B, 1, 1, L],
        of the text."""
        q, k, v = (part.transpose(1, 2) for part in self.project(x, turn))
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
        x = x + self.self_out(y.transpose(1, 2).flatten(2))
        if text is not None:
            x = self.cross(x, self.text(text), over)
        return self.feed(x)

    def step(self, x: Tensor, turn: tuple[Tensor, Tensor] | None, branches: list[Memory]) -> Tensor:
        """One more column for every branch: x [branches * V, D]; the branches' memories grow by it. turn: of
        ``Decoder.step_turn``.

        Written for few kernels and few views: a step is hundreds of them, each of which takes longer to call than to
        run.
        """
        rows, heads, d = branches[0].rows, self.heads, self.head_dim
        count = len(branches) * rows
        qkv = self.each(self.qkv, self.self_norm(x), rows).view(count, 3 * heads, d)
        if turn is not None:
            qkv = apart(lambda part: torch.addcmul(part * turn[0], part.roll(d // 2, -1), turn[1]), qkv, rows)
        else:
            qkv = torch.cat([qkv.narrow(1, 0, heads) * d**-0.5, qkv.narrow(1, heads, 2 * heads)], 1)
        seen = [memory.attend(qkv.narrow(0, i * rows, rows), heads) for i, memory in enumerate(branches)]
        seen = (seen[0] if len(seen) == 1 else torch.cat(seen)).view(count, heads * d)
        x = x + self.each(self.self_out, seen, rows)
        for i, memory in enumerate(branches):
            if memory.text is not None:  # a branch without text would add zeros: its keys and values are zero
                x.narrow(0, i * rows, rows).add_(self.ask(x.narrow(0, i * rows, rows), memory.text, rows))
        up = self.each(self.up, self.ffn_norm(x), rows)
        return x + self.each(self.down, apart(F.gelu, up, rows), rows)

    @staticmethod
    def each(linear: nn.Module, x: Tensor, rows: int) -> Tensor:
        """A linear layer over x [branches * V, in], each variation as if it were alone."""
        if rows == 1:
            return linear(x)
        if hasattr(linear, "each"):  # one that is made of several
            return linear.each(x, rows)
        return together(linear, x, rows, kind_of(linear))

    def ask(self, x: Tensor, text: tuple[Tensor, Tensor], rows: int) -> Tensor:
        """What the text adds to the rows of a branch [V, D]. Plain products, as in ``Memory.attend``."""
        keys, values = (part[0] for part in text)

        def look(q: Tensor) -> Tensor:
            q = q.view(-1, self.heads, self.head_dim).transpose(0, 1)
            weights = torch.bmm(q, keys.transpose(1, 2)).mul_(self.head_dim**-0.5).softmax(-1)
            return torch.bmm(weights, values).transpose(0, 1).flatten(1)

        q = self.each(self.cross_q, self.cross_norm(x), rows)
        return self.each(self.cross_out, apart(look, q, rows), rows)


class Decoder(nn.Module):
    """See the module's docstring."""

    def __init__(self, config: DecoderConfig):
        super().__init__()
        self.config = config
        known = config.context_codebooks or config.codebooks
        self.embed = drawn(0.02, known, config.rows, config.dim)
        if config.target_size:  # tables of the target's own, with a row of zeros for cells of others
            self.target_embed = drawn(0.1, config.codebooks, config.target_size + 1, config.dim)
        if config.features:
            self.features = nn.Linear(config.features, config.dim, bias=False)
        self.text_projection = nn.Linear(config.text_dim, config.dim)
        if config.restart:
            self.segment = drawn(0.3, config.segments, config.dim)
        if config.context_layers:
            self.context = ContextEncoder(config.dim, config.context_width, config.context_layers)
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.dim)
        size = config.target_size or config.codebook_size
        self.head = drawn(0.02, config.codebooks, size, config.dim)
        self.predict: nn.Module | None = None  # stands for the head where weights are packed (models/precision.py)
        self.engine: Any = None  # computes prefill and steps in place of the layers (models/engine.py)
        for layer in self.layers:
            for linear in (layer.qkv, layer.cross_q, layer.cross_kv, layer.up):
                nn.init.normal_(linear.weight, std=config.dim**-0.5)
            for linear in (layer.self_out, layer.cross_out, layer.down):
                nn.init.normal_(linear.weight, std=(2 * config.layers * linear.in_features) ** -0.5)
        self.silence_padding()

    @torch.no_grad()
    def silence_padding(self) -> None:
        """Padding adds nothing to a column."""
        self.embed[:, self.config.pad] = 0
        if self.config.target_size:
            self.target_embed[:, -1] = 0

    @property
    def device(self) -> torch.device:
        return self.embed.device

    def embed_columns(self, columns: Tensor, positions: Tensor, segments: Tensor) -> Tensor:
        """columns [B, K, S], positions and segments [B, S] int64 -> hidden [B, S, D]."""
        x = self._tokens(columns.transpose(1, 2))
        if self.config.restart:
            x = x + F.embedding(segments, self.segment)
        if self.config.positions == "sinusoidal":
            x = x + sinusoids(positions, self.config.dim).to(x.dtype)
        return x

    def _tokens(self, tokens: Tensor) -> Tensor:
        """Sum of the embeddings of tokens [B, S, K] -> [B, S, D]."""
        config = self.config
        known = len(self.embed)
        offsets = torch.arange(config.codebooks, device=tokens.device)
        if not config.target_size:
            return F.embedding(tokens + offsets * config.rows, self.embed.flatten(0, 1)).sum(2)
        own = tokens >= config.target_start
        context = torch.where(own, config.pad, tokens)[..., :known] + offsets[:known] * config.rows
        target = torch.where(own, tokens - config.target_start, config.target_size) + offsets * (config.target_size + 1)
        tables = self.embed.flatten(0, 1), self.target_embed.flatten(0, 1)
        return F.embedding(context, tables[0]).sum(2) + F.embedding(target, tables[1]).sum(2)

    def enter(self, sequence: Row, features: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Embedded columns [B, S, D] of whole rows, with what is added to them by their moments.

        features: [B, T, F] of the frames of the target's time line, or None; a column of a context takes those of its
        own frame, one of the target those of the frame that it predicts. Also returns what is added to a column of the
        target at each position, [B, P, D], or None where nothing is.
        """
        x = self.embed_columns(sequence.columns, sequence.positions, sequence.segments)
        moment = None
        if features is not None:
            moment = self.features(features.to(x.dtype))
            x = x + self._at_frames(moment, sequence)
        if not self.config.context_layers:
            return x, moment
        attended = sequence.attend & (sequence.segments == self.config.segment(len(self.config.contexts) - 1))
        columns = attended.any(0).nonzero()
        if not len(columns):
            return x, moment
        mix = slice(int(columns[0]), int(columns[-1]) + 1)
        moments = max(int(sequence.positions.max()) + 1, 0 if moment is None else moment.shape[1])
        found, beside = self.context(x[:, mix], attended[:, mix], sequence.positions[:, mix], moments)
        target = sequence.attend & (sequence.segments < len(self.config.stems))
        same = beside.gather(1, sequence.positions[..., None].expand_as(x)) * target[..., None]
        if moment is not None:
            beside = beside + F.pad(moment, (0, 0, 0, moments - moment.shape[1]))
        return x + F.pad(found, (0, 0, mix.start, x.shape[1] - mix.stop)) + same, beside

    def _at_frames(self, moment: Tensor, sequence: Row) -> Tensor:
        """What the frames [B, T, D] add to the columns [B, S, D]. Frame t of a context stands at position t + 1, and
        frame t of the target is predicted from position t."""
        context = sequence.segments >= len(self.config.stems)
        frame = sequence.positions - context.long()
        inside = sequence.attend & (frame >= 0) & (frame < moment.shape[1])
        frame = frame.clamp(0, moment.shape[1] - 1)[..., None].expand(-1, -1, moment.shape[2])
        return moment.gather(1, frame) * inside[..., None]

    def turn(self, positions: Tensor) -> tuple[Tensor, Tensor] | None:
        """The rotation of queries and keys at positions [B, S], or None with sinusoids."""
        if self.config.positions != "rotary":
            return None
        cos, sin = rotation(positions, self.config.dim // self.config.heads)
        return cos[:, :, None].to(self.embed.dtype), sin[:, :, None].to(self.embed.dtype)

    def step_turn(self, positions: Tensor) -> tuple[Tensor, Tensor] | None:
        """``turn`` for ``Layer.step``, at positions [N]: what queries (and their scale), keys and values are multiplied
        with, and
        what their other halves are: [N, 3 * H, d] each. None with sinusoids."""
        if self.config.positions != "rotary":
            return None
        heads, d = self.config.heads, self.config.dim // self.config.heads
        cos, sin = (part[:, None] for part in rotation(positions, d))
        cos, sin = torch.cat([cos, cos], -1), torch.cat([-sin, sin], -1)
        scales = torch.tensor([d**-0.5, 1.0, 0.0], device=positions.device).repeat_interleave(heads)[:, None]
        kept = torch.tensor([0.0, 0.0, 1.0], device=positions.device).repeat_interleave(heads)[:, None]
        return (cos * scales + kept).to(self.embed.dtype), (sin * scales).to(self.embed.dtype)

    def forward(
        self,
        sequence: Row,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
        features: Tensor | None = None,
    ) -> Tensor:
        """Hidden states of whole rows, as in training.

        text: [B, L, D] projected (``text_projection``); text_mask: [B, L] bool, at least one True
        a row (a row without text holds zeros). features: of ``enter``. Returns [B, S, D], after the final norm.
        """
        return self.run(self.enter(sequence, features)[0], sequence, text, text_mask)

    def run(self, x: Tensor, sequence: Row, text: Tensor | None = None, text_mask: Tensor | None = None) -> Tensor:
        """``forward`` from the columns on that ``enter`` returned."""
        turn, mask = self.turn(sequence.positions), None
        if not bool(sequence.attend.all()):
            length = x.shape[1]
            causal = torch.ones(length, length, dtype=torch.bool, device=x.device).tril()
            # a masked column attends to itself, so that its softmax stays finite; no other column attends to it
            own = torch.eye(length, dtype=torch.bool, device=x.device)
            mask = ((causal & sequence.attend[:, None]) | own)[:, None]
        over = None if text_mask is None else text_mask[:, None, None]
        for layer in self.layers:  # called as modules: training wraps them (activation checkpoints, shards)
            x = layer(x, turn, mask, text, over)
        return self.norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """hidden [B, S, D] -> logits [B, K, S, V]."""
        return self._predict(hidden).view(*hidden.shape[:2], self.config.codebooks, -1).transpose(1, 2)

    def _predict(self, hidden: Tensor) -> Tensor:
        """hidden [..., D] -> logits of all codebooks side by side [..., K * V]."""
        return F.linear(hidden, self.head.flatten(0, 1)) if self.predict is None else self.predict(hidden)

    def project(self, embedded: Tensor) -> Tensor:
        """What a text encoder made [..., text_dim], in any dtype and on any device -> [..., D] in the decoder's."""
        return self.text_projection(embedded.to(self.text_projection.weight))

    def target_logits(self, hidden: Tensor, sequence: Row) -> tuple[Tensor, Tensor]:
        """Logits of the target's frames, de-interleaved: hidden [B, S, D] -> ([B, K, T, V], mask [K, T])."""
        states, mask = target_states(hidden, sequence, self.config.pattern)
        logits = torch.bmm(states.flatten(1, 2), self.head.transpose(1, 2))
        return logits.view(*states.shape[:3], -1).transpose(0, 1), mask

    def prefill(
        self,
        sequence: Row,
        text: Tensor | None = None,
        text_mask: Tensor | None = None,
        features: Tensor | None = None,
    ) -> tuple[Tensor, Cache]:
        """Run one row without masked columns (B = 1). Returns logits of its last column [1, K, V] and the cache.

        text: [1, L, D] projected, or None; features: [1, T, F] of ``enter``. The cache's cross-attention is computed
        once, here.
        """
        length = sequence.columns.shape[-1]
        cache = Cache(self.config, length, self.embed)
        if text is not None:
            text = (text[:, text_mask[0]] if text_mask is not None else text).to(self.embed.dtype)
            keys, values = zip(*(layer.text(text) for layer in self.layers))
            cache.text = torch.stack(keys), torch.stack(values)
        x, cache.moment = self.enter(sequence, features)
        turn = self.turn(sequence.positions)
        for i, layer in enumerate(self.layers):
            q, k, v = (part.transpose(1, 2) for part in layer.project(x, turn))
            cache.own[i, 0], cache.own[i, 1] = k[0], v[0]
            if i + 1 == len(self.layers):  # of the other columns only keys and values are needed
                x, q = x[:, -1:], q[:, :, -1:]
            y = F.scaled_dot_product_attention(q, k, v, is_causal=q.shape[2] > 1)
            x = x + layer.self_out(y.transpose(1, 2).flatten(2))
            if cache.text is not None:
                x = layer.cross(x, (cache.text[0][i], cache.text[1][i]), None)
            x = layer.feed(x)
        return self.logits(self.norm(x))[:, :, 0], cache

    def step(self, columns: Tensor, position: Tensor, segment: Tensor, caches: Sequence[Cache]) -> Tensor:
        """One more column for every branch.

        columns: [branches, V, K] int64; position: [branches] int64; segment: 0-d int64.
        caches: one for each branch, with V rows each.
        Returns logits [branches, V, K, size].
        """
        branches, rows = len(caches), caches[0].rows
        x = self.enter_step(columns, position, segment, caches)
        turn = self.step_turn(position)
        if turn is not None and rows > 1 and not separately(x, rows):
            turn = turn[0].repeat_interleave(rows, 0), turn[1].repeat_interleave(rows, 0)
        for layer, *memories in zip(self.layers, *(cache.layers() for cache in caches)):
            x = layer.step(x, turn, memories)
        for cache in caches:
            cache.length += 1
        if self.predict is None:
            kind = nn.Linear, self.config.dim, self.head.shape[0] * self.head.shape[1]
        else:
            kind = kind_of(self.predict)
        flat = together(self.predict or self._predict, self.norm(x), rows, kind)
        return flat.view(branches, rows, self.config.codebooks, -1)

    def enter_step(self, columns: Tensor, position: Tensor, segment: Tensor, caches: Sequence[Cache]) -> Tensor:
        """What a step begins with, [branches * V, D]; the arguments are those of ``step``."""
        branches, rows = len(caches), caches[0].rows

        def enter(columns: Tensor) -> Tensor:
            """Columns [branches * n, K] -> hidden [branches * n, D]."""
            count = int(columns.shape[0])
            at = position.repeat_interleave(count // branches)
            return self.embed_columns(columns[:, :, None], at[:, None], segment.expand(count, 1))[:, 0]

        x = apart(enter, columns.flatten(0, 1), rows)
        if self.config.context_layers or self.config.features:
            x = x + torch.cat([self._moment(cache, at).expand(rows, -1) for cache, at in zip(caches, position)])
        return x

    def _moment(self, cache: Cache, at: Tensor) -> Tensor:
        """What context encoder and features add to a column at this position (0-d int64): [D], zero behind their
        end."""
        if cache.moment is None:
            return self.embed.new_zeros(self.config.dim)
        moments = cache.moment.shape[1]
        return cache.moment[0, at.clamp(max=moments - 1)] * (at < moments)

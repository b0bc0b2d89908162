"""Train the embedded model: guided copying over episodes composed as promptbot deploys them.

    python -m pretraining.train --tokens 9000000

Stops and resumes at any time: SIGTERM (or every five minutes) writes a checkpoint with weights,
optimisers and the places in the streams of episodes, and the next start goes on from it with the
same result as an unbroken run. The schedule counts tokens, so the budget may be changed between
two starts: a constant rate until 60% of it, then a linear decay.

Each core trains on batches of its own, in a process of its own, and a step follows the mean of
their gradients: one process on two cores leaves the second idle while episodes are made.
"""

from __future__ import annotations

import json
import signal
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch.multiprocessing.spawn import start_processes
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from pretraining import generators, model
from pretraining import tokenizer as tokenizers
from pretraining.encoder import loss_of
from pretraining.episodes import About, Encoded, encode
from pretraining.generators import Generator
from pretraining.tokenizer import ASSISTANT
from pretraining.world import World

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import LlamaForCausalLM

LOOKUP_UNTIL = 200_000
"""Tokens of short look-ups alone, with which copying forms."""
SHORT_UNTIL = 600_000
"""Tokens until which short look-ups and dense episodes alternate."""
DENSE_UNTIL = 1_200_000
"""Tokens until which dense episodes prevail; then the mixture."""
GUIDE_FULL = 2_400_000
"""Until here the guidance has weight 1 and the copying heads' matrices are frozen."""
GUIDE_LOW = 5_600_000
"""From here on the guidance keeps its smallest weight."""
GUIDE_FLOOR = 0.3
MAX_GUIDES = 400
READ_FIRST = 4_000_000
"""Tokens of texts read for their summaries alone, by the layers below the tap, before the rest."""
READ_SHARE = 2.5
"""How many more of them for every token of an episode: half of the time, as they are cheap."""
READ_UNTIL = 0.25
"""Share of a run's budget after which nothing more is read: the layers above the summaries learn
to use what the reading has become."""
READ_BATCH = 8192
"""Tokens of such a batch: the larger, the more texts each summary must be told from."""
STUTTERS = 0.03
"""Share of the words said that are read as the one before them, said twice."""
BLURRED, BLUR_MOST = 0.1, 0.5
"""Share of the summaries that the layers above see mixed with another one of the batch, and the
most of that other. Trained wordings are read almost as the teacher does (cosine .9), new ones worse
(.65): layers that only met the first trust a summary too much and the order of what was retrieved
too little. On held-out questions the note shown last, the nearest, was the right one in 85 of 100
where the model chose the right one in 55. With half of them blurred, what fits none of the notes
was no longer told by how near they are."""
MISREAD_MOST = 0.7
"""The most of another summary in an episode that is misread, where all of them are mixed."""
LIGHT, LIGHT_KEPT = 0.15, 1 / 3
"""Of the tokens of less loss weight than this a third is predicted, at three times the weight: most
of what a step costs above the layers is their softmax over the vocabulary."""
DECAY_SHARE = 0.4
GO_ON_RATE = 0.4
"""The learning rate's factor where a run goes on from an exported model; it falls to the end."""
RATE_MATRICES, RATE_EMBEDDINGS, RATE_REST = 1.2e-3, 4e-3, 1e-3


@dataclass(frozen=True)
class Settings:
    """What a training run is told."""

    tokens: int
    """The budget, padding included; the learning rate has decayed when it is spent."""
    size: model.Size = model.CPU
    seed: int = 1
    batch_tokens: int = 4096
    """Tokens of a batch, padding included."""
    max_length: int = 704
    """Longer episodes are left out."""
    pool: int = 192
    """Episodes made at once and sorted by length into batches."""
    warmup: int = 60
    """Steps over which the rate rises."""
    bf16: bool = False
    """Whether matrix products run in bfloat16 (the weights stay float32): faster where the
    CPU has instructions for it (AMX, AVX512-BF16: 2.6 times float32 on an EPYC), slower elsewhere
    (0.5 times float32 on a Xeon whose AMX is hidden)."""


@dataclass
class Place:
    """A place in a stream of batches."""

    pool: int = 0
    """Number of the current pool of episodes."""
    tokens: int = 0
    """Tokens seen when that pool was made: with the number it determines the episodes."""
    taken: int = 0
    """Batches of that pool already trained on."""


@dataclass
class Progress:
    """Where a run stands; but for the places, the same in each of its processes."""

    step: int = 0
    tokens: int = 0
    read_tokens: int = 0
    """Tokens read for their summaries alone; they do not count into `tokens`."""
    begun: int = 0
    """The step with which these optimisers began: that of an exported model, or 0."""
    begun_tokens: int = 0
    """Tokens that the exported model had seen."""
    asked: Place = field(default_factory=Place)
    """The place of this process among the episodes."""
    read: Place = field(default_factory=Place)
    """Its place among the texts that are only read."""


@dataclass(frozen=True)
class Batch:
    """Episodes of similar length, padded on the right."""

    ids: torch.Tensor
    """(n, length)"""
    weights: torch.Tensor
    """(n, length): loss weight of each token as a prediction target."""
    summaries: list[tuple[int, int, About]]
    """(episode, position, text or its row)"""
    guides: list[tuple[int, int, tuple[int, ...]]]
    """(episode, position, sources)"""
    misread: torch.Tensor
    """(n,): whether all of an episode's summaries are blurred"""

    @property
    def is_read(self) -> bool:
        """Whether nothing is to be said: texts that are read for their summaries."""
        return not self.weights.any()

    @property
    def summarised(self) -> tuple[torch.Tensor, torch.Tensor]:
        """The episode and the position of each summary.  # twice (n_summaries,)"""
        episode, position = torch.tensor([s[:2] for s in self.summaries]).unbind(1)
        return episode, position


def collate(episodes: list[Encoded]) -> Batch:
    """Return episodes as one padded batch."""
    length = max(len(e.ids) for e in episodes)
    ids = torch.zeros(len(episodes), length, dtype=torch.long)
    weights = torch.zeros(len(episodes), length)
    for i, e in enumerate(episodes):
        ids[i, : len(e.ids)] = torch.tensor(e.ids)
        weights[i, : len(e.weights)] = torch.tensor(e.weights)
    return Batch(
        ids,
        weights,
        [(i, p, row) for i, e in enumerate(episodes) for p, row in e.summaries],
        [(i, p, s) for i, e in enumerate(episodes) for p, s in e.guides],
        torch.tensor([e.is_misread for e in episodes]),
    )


def choose(r: Random, tokens: int) -> Generator:
    """Return the generator of the next episode, by the curriculum's stage."""
    if tokens < LOOKUP_UNTIL:
        return generators.key_value
    if tokens < SHORT_UNTIL:
        return generators.key_value if r.random() < 0.6 else generators.dense
    mixture = generators.EARLY if tokens < DENSE_UNTIL else generators.MIXTURE
    return r.choices([g for g, _ in mixture], [w for _, w in mixture])[0]


def make_pool(
    world: World,
    tokenizer: Tokenizer,
    settings: Settings,
    place: Place,
    read: bool = False,
) -> list[Batch]:
    """Return the batches of one pool; the same arguments give the same batches.

    `read`: of texts to be summarised, else of the episodes for this stage of the curriculum.
    """
    r = Random(f"{settings.seed}:{rank()}:{read}:{place.pool}")
    episodes: list[Encoded] = []
    while len(episodes) < settings.pool:
        generator = generators.reading if read else choose(r, place.tokens)
        e = encode(generator(r, world), tokenizer)
        if 1 < len(e.ids) <= settings.max_length:
            episodes.append(e)
    world.learn(about for e in episodes for _, about in e.summaries)
    episodes.sort(key=lambda e: len(e.ids))
    batches: list[Batch] = []
    group: list[Encoded] = []
    for e in episodes:
        if group and (len(group) + 1) * len(e.ids) > (
            READ_BATCH if read else settings.batch_tokens
        ):
            batches.append(collate(group))
            group = []
        group.append(e)
    batches.append(collate(group))
    r.shuffle(batches)
    return batches


def stream(
    world: World, tokenizer: Tokenizer, settings: Settings, progress: Progress
) -> Iterator[Batch]:
    """Yield batches for ever, keeping the places in `progress`.

    Processes that train together read together: what is read costs less than an episode, and one
    would wait for the other.
    """
    pools: dict[bool, list[Batch]] = {}
    while True:
        begun = progress.begun_tokens
        counted = min(progress.tokens, begun + READ_UNTIL * (settings.tokens - begun))
        goal = min(settings.tokens, READ_FIRST) + READ_SHARE * counted
        read = progress.read_tokens < goal
        place = progress.read if read else progress.asked
        if read not in pools:
            pools[read] = make_pool(world, tokenizer, settings, place, read)
        if place.taken >= len(pools[read]):
            place.pool += 1
            place.taken, place.tokens = 0, progress.tokens
            pools[read] = make_pool(world, tokenizer, settings, place, read)
        place.taken += 1
        yield pools[read][place.taken - 1]


def stutter(batch: Batch, seed: int) -> torch.Tensor:
    """Return the tokens as they are read: some that the bot says stand twice and hide the next.

    A model that has only read right replies says a word for ever once it has said it twice. What
    comes next stays the target, so that it learns to go on.  # (n, length)

    Source:
        Exposure bias: Bengio et al. (2015), arXiv:1506.03099; here without sampling.
    """
    said = batch.weights >= 0.9
    inside = torch.zeros_like(said)
    inside[:, 1:-1] = said[:, :-2] & said[:, 1:-1] & said[:, 2:]
    chance = torch.rand(said.shape, generator=torch.Generator().manual_seed(seed))
    return torch.where(inside & (chance < STUTTERS), batch.ids.roll(1, 1), batch.ids)


def blur(hidden: torch.Tensor, batch: Batch, seed: int) -> torch.Tensor:
    """Return states in which some of the batch's summaries are mixed with another of them.

    Another summary is how a reading goes wrong: it looks like any, so that what is read wrongly
    cannot be told from what is read well.  # (n, length, width)

    Source:
        Mixup of hidden states: Verma et al. (2019), arXiv:1806.05236; here the target stays.
    """
    generator = torch.Generator().manual_seed(seed)
    n = len(batch.summaries)
    episode, position = batch.summarised
    share = torch.rand(n, generator=generator)
    some = BLUR_MOST * share * (torch.rand(n, generator=generator) < BLURRED)
    share = torch.where(batch.misread[episode], MISREAD_MOST * share.sqrt(), some)
    states = hidden[episode, position]
    others = states[torch.randperm(n, generator=generator)].detach()
    result = hidden.clone()
    result[episode, position] = torch.lerp(states, others, share[:, None].to(states.dtype))
    return result


def lightened(weights: torch.Tensor, seed: int) -> torch.Tensor:
    """Return loss weights of which most light ones are 0 and the others so much heavier."""
    chance = torch.rand(weights.shape, generator=torch.Generator().manual_seed(seed))
    light = weights < LIGHT
    return torch.where(light, weights * (chance < LIGHT_KEPT) / LIGHT_KEPT, weights)


def ranks() -> int:
    """Return the number of processes that train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process among those that train together."""
    return dist.get_rank() if dist.is_initialized() else 0


class Trainer:
    """A model in training, with its optimisers and the taps that the extra losses read."""

    def __init__(self, network: LlamaForCausalLM, size: model.Size, settings: Settings) -> None:
        """Prepare a model for training."""
        self.network = network
        self.size = size
        self.settings = settings
        self.progress = Progress()
        torch.manual_seed(settings.seed)
        self.reader = torch.nn.Linear(size.width, 384, bias=False)
        torch.nn.init.orthogonal_(self.reader.weight)
        self.tap: dict[str, Any] = {}
        layers = network.model.layers
        layers[size.tap_layer].register_forward_hook(self._keep_output)
        layers[size.copy_layer].register_forward_pre_hook(self._keep_input, with_kwargs=True)
        embeddings = network.model.embed_tokens.weight
        matrices = [p for p in network.parameters() if p.ndim == 2 and p is not embeddings]
        rest = [p for p in network.parameters() if p.ndim != 2] + list(self.reader.parameters())

        def adam(parameters: list[torch.nn.Parameter], decay: float) -> torch.optim.AdamW:
            return torch.optim.AdamW(
                parameters, lr=0.0, betas=(0.9, 0.95), weight_decay=decay, fused=True
            )

        self.optimisers = [
            (adam(matrices, 0.1), RATE_MATRICES),
            (adam([embeddings], 0.0), RATE_EMBEDDINGS),
            (adam(rest, 0.0), RATE_REST),
        ]
        self.recent: dict[str, deque[float]] = {}

    def _keep_output(self, _module: Any, _inputs: Any, output: torch.Tensor) -> torch.Tensor:
        self.tap["summary"] = output
        blurred = self.tap.pop("blur", None)
        return output if blurred is None else blurred(output)

    def _keep_input(self, _module: Any, args: Any, kwargs: Any) -> None:
        hidden = args[0] if args else kwargs["hidden_states"]
        self.tap["copy"] = (hidden, kwargs["position_embeddings"])

    def note(self, name: str, value: float) -> None:
        """Remember a figure for the next line of the log."""
        self.recent.setdefault(name, deque(maxlen=60)).append(value)

    def rate(self) -> float:
        """Return the factor of the learning rate at this point of the run."""
        p = self.progress
        done = (p.tokens - p.begun_tokens) / (self.settings.tokens - p.begun_tokens)
        rise = min(1.0, (p.step - p.begun + 1) / self.settings.warmup)
        fall = max(0.0, 1.0 - done) / DECAY_SHARE
        if p.begun:
            fall *= DECAY_SHARE * GO_ON_RATE
        return rise * min(1.0, 0.03 + 0.97 * fall)

    def guide_weight(self) -> float:
        """Return the weight of the guidance at this point of the run."""
        past = (self.progress.tokens - GUIDE_FULL) / (GUIDE_LOW - GUIDE_FULL)
        return max(GUIDE_FLOOR, min(1.0, 1.0 - past))

    def guidance(
        self, guides: list[tuple[int, int, tuple[int, ...]]], weights: torch.Tensor
    ) -> tuple[torch.Tensor, float]:
        """Return minus the log of the copying heads' attention to the sources, and its mean.

        The attention is computed again from the layer's input; the heads are its first four.
        """
        layer = self.network.model.layers[self.size.copy_layer]
        hidden, (cos, sin) = self.tap["copy"]
        n, length, _ = hidden.shape
        width = self.size.width // self.size.heads
        normed = layer.input_layernorm(hidden)

        def heads(weight: torch.Tensor) -> torch.Tensor:
            rows = F.linear(normed, weight[: self.size.copy_width])
            return rows.view(n, length, model.COPY_HEADS, width).transpose(1, 2)

        q, k = apply_rotary_pos_emb(
            heads(layer.self_attn.q_proj.weight).float(),
            heads(layer.self_attn.k_proj.weight).float(),
            cos.float(),
            sin.float(),
        )
        # The attention of every position and not only of the guided ones: to gather the keys
        # of each guide's episode would move far more memory than these products.
        episode = torch.tensor([g[0] for g in guides])
        position = torch.tensor([g[1] for g in guides])
        scores = (q @ k.transpose(2, 3))[episode, :, position] * width**-0.5
        future = torch.arange(length)[None] > position[:, None]
        scores = scores.masked_fill(future[:, None], -1e9).log_softmax(-1)
        mask = torch.full((len(guides), length), -1e9)
        rows = [i for i, g in enumerate(guides) for _ in g[2]]
        mask[rows, [source for g in guides for source in g[2]]] = 0.0
        found = (scores + mask[:, None]).logsumexp(-1)  # (n_guides, n_heads)
        mean = (found.mean(1) * weights).sum() / weights.sum()
        return -mean, found.exp().mean().item()

    def summaries(
        self, tapped: torch.Tensor, batch: Batch, world: World, ranking: float
    ) -> torch.Tensor:
        """Return the distance of the summaries to the teacher's vectors.

        Cosine distance, and (weighted) that of their similarities to one another.
        """
        goal = torch.from_numpy(np.stack([world.vector(s[2]) for s in batch.summaries])).float()
        read = F.normalize(self.reader(tapped).float(), dim=-1)
        with torch.autocast("cpu", enabled=False):
            distance, ranked = loss_of(read, goal)
        self.note("read cosine" if batch.is_read else "summary cosine", 1.0 - distance.item())
        return distance + ranking * ranked if ranking else distance

    def read(self, batch: Batch) -> torch.Tensor:
        """Return the states from which a batch's summaries are read.  # (n_summaries, width)

        No layer above the tap is computed, and of the tapped one only the keys and values of
        other positions: a sixth of its products.
        """
        network, ids = self.network.model, batch.ids
        hidden = network.embed_tokens(ids)
        n, length, width = hidden.shape
        cos, sin = network.rotary_emb(hidden, torch.arange(length)[None])
        for layer in network.layers[: self.size.tap_layer]:
            hidden = layer(hidden, position_embeddings=(cos, sin))
        episode, position = batch.summarised
        counts = torch.bincount(episode, minlength=n)
        order = episode.argsort(stable=True)
        slot = torch.empty_like(order)
        slot[order] = torch.arange(len(order)) - (counts.cumsum(0) - counts)[episode[order]]
        at = torch.zeros(n, int(counts.max()), dtype=torch.long)
        at[episode, slot] = position

        def heads(rows: torch.Tensor) -> torch.Tensor:
            return rows.view(n, -1, self.size.heads, width // self.size.heads).transpose(1, 2)

        def turned(rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
            return apply_rotary_pos_emb(rows, rows, cos[0][places], sin[0][places])[0]

        layer = network.layers[self.size.tap_layer]
        attention = layer.self_attn
        normed = layer.input_layernorm(hidden)
        asked = at[..., None].expand(-1, -1, width)
        mixed = F.scaled_dot_product_attention(
            turned(heads(attention.q_proj(normed.gather(1, asked))), at),
            turned(heads(attention.k_proj(normed)), torch.arange(length)[None]),
            heads(attention.v_proj(normed)),
            attn_mask=(torch.arange(length) <= at[..., None])[:, None],
        )
        x = hidden.gather(1, asked) + attention.o_proj(mixed.transpose(1, 2).flatten(2))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
        return x[episode, slot]

    def loss(self, batch: Batch, world: World) -> torch.Tensor:
        """Return the loss of a batch: next tokens, sentence summaries, guided attention."""
        if batch.is_read:
            return 2.0 * self.summaries(self.read(batch), batch, world, 0.5)
        seed = self.progress.step * ranks() + rank()
        read = stutter(batch, seed)
        if batch.summaries:
            self.tap["blur"] = lambda states: blur(states, batch, seed)
        hidden = self.network.model(read).last_hidden_state
        targets = batch.ids[:, 1:].reshape(-1)
        weights = lightened(batch.weights[:, 1:].reshape(-1), seed)
        keep = weights > 0
        logits = self.network.lm_head(hidden[:, :-1].reshape(-1, self.size.width)[keep])
        each = F.cross_entropy(logits.float(), targets[keep], reduction="none")
        weights = weights[keep]
        total = (each * weights).sum() / weights.sum().clamp(min=1.0)
        wanted = weights >= 0.9
        if wanted.any():
            self.note("answer loss", each[wanted].mean().item())
        if batch.summaries:
            tapped = self.tap["summary"][batch.summarised]
            ranking = 0.1 if len(batch.summaries) > 16 else 0.0
            total = total + self.summaries(tapped, batch, world, ranking)
        guides = batch.guides
        if len(guides) > MAX_GUIDES:
            guides = Random(self.progress.step).sample(guides, MAX_GUIDES)
        if guides:
            e = torch.tensor([g[0] for g in guides])
            p = torch.tensor([g[1] for g in guides])
            guide, seen = self.guidance(guides, batch.weights[e, p + 1])
            total = total + self.guide_weight() * guide
            self.note("attention on source", seen)
            with torch.no_grad():
                right = self.network.lm_head(hidden[e, p]).argmax(-1) == batch.ids[e, p + 1]
                self.note("copied", right.float().mean().item())
                first = batch.ids[e, p] == ASSISTANT
                if first.any():
                    self.note("first token", right[first].float().mean().item())
        return total

    def share(self, *figures: float) -> list[float]:
        """Put the mean of all processes' gradients in each; return the sums of other figures."""
        if ranks() == 1:
            return list(figures)
        parameters = [*self.network.parameters(), *self.reader.parameters()]
        n_figures = len(figures)
        flat = torch.cat(
            [
                torch.tensor([*figures, *(float(p.grad is not None) for p in parameters)]),
                *((torch.zeros_like(p) if p.grad is None else p.grad).view(-1) for p in parameters),
            ]
        )
        dist.all_reduce(flat)
        figures_and_known = flat[: n_figures + len(parameters)].tolist()
        at = len(figures_and_known)
        for p, known in zip(parameters, figures_and_known[n_figures:], strict=True):
            # A part that no process trained stays without a gradient: its weights do not move.
            if known:
                p.grad = flat[at : at + p.numel()].view_as(p) / ranks()
            at += p.numel()
        return figures_and_known[:n_figures]

    def step(self, batch: Batch, world: World, stop: bool = False) -> bool:
        """Train on one batch; return whether any process was asked to stop."""
        factor = self.rate()
        for optimiser, rate in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate * factor
        with torch.autocast("cpu", torch.bfloat16, enabled=self.settings.bf16):
            loss = self.loss(batch, world)
        loss.backward()  # type: ignore[no-untyped-call]
        tokens, asked = self.share(batch.ids.numel(), stop)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        if self.progress.tokens < GUIDE_FULL:
            attention = self.network.model.layers[self.size.copy_layer].self_attn
            for weight, rows in ((attention.v_proj.weight, True), (attention.o_proj.weight, False)):
                if weight.grad is not None:
                    grad = weight.grad if rows else weight.grad.T
                    grad[: self.size.copy_width] = 0.0
        for optimiser, _ in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
        self.progress.step += 1
        if batch.is_read:
            self.progress.read_tokens += int(tokens)
        else:
            self.progress.tokens += int(tokens)
        return asked > 0

    def save(self, path: Path) -> None:
        """Write a checkpoint; an interrupted write leaves the old one.

        No process returns before it is written, so that each can go on from it.
        """
        places = [{"asked": asdict(self.progress.asked), "read": asdict(self.progress.read)}]
        if ranks() > 1:
            mine, places = places[0], [{}] * ranks()
            dist.all_gather_object(places, mine)
        if not rank():
            self._write(path, places)
        if ranks() > 1:
            dist.barrier()

    def _write(self, path: Path, places: list[dict[str, Any]]) -> None:
        part = path.with_suffix(".part")
        torch.save(
            {
                "network": self.network.state_dict(),
                "reader": self.reader.state_dict(),
                "optimisers": [o.state_dict() for o, _ in self.optimisers],
                "progress": {k: v for k, v in asdict(self.progress).items() if k not in places[0]},
                "places": places,
            },
            part,
        )
        part.replace(path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.reader.load_state_dict(state["reader"])
        for (optimiser, _), saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.progress = Progress(**state["progress"])
        if rank() < len(state["places"]):
            saved = state["places"][rank()]
            self.progress.asked, self.progress.read = (
                Place(**saved["asked"]),
                Place(**saved["read"]),
            )
        else:
            self.progress.asked.tokens = self.progress.read.tokens = self.progress.tokens

    def start_from(self, folder: Path, world: World, tokenizer: Tokenizer) -> None:
        """Take the weights of an exported model, whose optimisers and read-out were not kept.

        Its tokens are found by what they spell; those that it lacked start from their teacher
        vectors, mapped to where its training has moved the others. The read-out of the summaries
        is fitted anew, by least squares.
        """
        from promptbot.models.weights import CARD, load_tensors

        state = {name: torch.from_numpy(t).float() for name, t in load_tensors(folder).items()}
        name = "model.embed_tokens.weight"
        known = tokenizers.load(folder)
        old = torch.tensor(tokenizers.places(known, tokenizer))
        twins = torch.tensor(tokenizers.places(known, tokenizer, before=tokenizers.SPACE))
        state[name] = model.extended(self.network.state_dict()[name], state[name], old, twins)
        state["lm_head.weight"] = state[name]
        self.network.load_state_dict(state)
        card = json.loads((folder / CARD).read_text(encoding="utf-8"))
        p = self.progress
        p.step = p.begun = card["training_steps"]
        p.tokens = p.asked.tokens = p.read.tokens = p.begun_tokens = card["training_tokens"]
        p.read_tokens = int(READ_SHARE * p.tokens + READ_FIRST)
        p.asked.pool = p.read.pool = p.step  # beyond every pool that it has seen
        self.fit_reader(world, tokenizer)

    @torch.no_grad()
    def fit_reader(self, world: World, tokenizer: Tokenizer, pools: int = 4) -> None:
        """Fit the read-out of the summaries to the teacher's vectors of texts, by least squares."""
        size = self.size.width
        inputs, outputs = torch.eye(size), torch.zeros(size, 384)
        for number in range(pools):
            for batch in make_pool(world, tokenizer, self.settings, Place(-1 - number), read=True):
                goal = np.stack([world.vector(s[2]) for s in batch.summaries]).astype(np.float32)
                tapped = self.read(batch).float()
                inputs += tapped.T @ tapped
                outputs += tapped.T @ torch.from_numpy(goal)
        self.reader.weight.copy_(torch.linalg.solve(inputs, outputs).T)

    def line(self, seconds: float, tokens: int) -> str:
        """Return a line of the log: figures over the last steps."""
        p = self.progress
        figures = " ".join(f"{k} {sum(v) / len(v):.3f}" for k, v in self.recent.items())
        return (
            f"{p.step} {p.tokens / 1e6:.3f}M read {p.read_tokens / 1e6:.1f}M "
            f"{tokens / max(seconds, 1e-9):.0f}/s rate {self.rate():.2f} {figures}"
        )


def run(
    trainer: Trainer,
    world: World,
    tokenizer: Tokenizer,
    checkpoint: Path,
    measure: Callable[[LlamaForCausalLM], str] | None = None,
    save_every: int = 100,
    measure_every_s: float = 1800.0,
) -> bool:
    """Train until the budget is spent; return False where a signal stopped it before."""
    if checkpoint.exists():
        trainer.load(checkpoint)
    if ranks() > 1:
        for weights in (*trainer.network.parameters(), *trainer.reader.parameters()):
            dist.broadcast(weights.data, 0)
    stop = [False]

    def ask_to_stop(_number: int, _frame: Any) -> None:
        stop[0] = True

    before = signal.signal(signal.SIGTERM, ask_to_stop)
    p = trainer.progress
    began = measured = time.monotonic()
    start, asked = p.tokens, False
    batches = stream(world, tokenizer, trainer.settings, p)
    while p.tokens < trainer.settings.tokens and not asked:
        asked = trainer.step(next(batches), world, stop[0])
        now = time.monotonic()
        if p.step % 20 == 0 and not rank():
            print(trainer.line(now - began, p.tokens - start), flush=True)
        if p.step % save_every == 0:
            trainer.save(checkpoint)
        if measure and now - measured > measure_every_s and p.tokens > SHORT_UNTIL and not rank():
            trainer.network.train(False)
            print("   measured:", measure(trainer.network), flush=True)
            trainer.network.train()
            measured = time.monotonic()
    trainer.save(checkpoint)
    signal.signal(signal.SIGTERM, before)
    return not asked


def main(
    data: Path, work: Path, settings: Settings, threads: int, begin: Path | None = None
) -> bool:
    """Train, or go on training, the model in the folder `work`; a small one in `work/small`.

    `threads`: how many processes of one thread each train together.
    `begin`: an exported model to begin with, where there is no checkpoint yet.
    """
    with tempfile.TemporaryDirectory() as meeting:
        task = (threads, Path(meeting) / "meeting", data, work, settings, begin)
        start: Any = start_processes
        processes = start(_train, task, threads, join=False, start_method="spawn")

        def ask_to_stop(_number: int, _frame: Any) -> None:
            for process in processes.processes:
                process.terminate()

        before = signal.signal(signal.SIGTERM, ask_to_stop)
        while not processes.join():
            pass
        signal.signal(signal.SIGTERM, before)
    state = torch.load(_place(work, settings) / "checkpoint.pt", weights_only=True)
    return bool(state["progress"]["tokens"] >= settings.tokens)


def _place(work: Path, settings: Settings) -> Path:
    return work / "small" if settings.size == model.SMALL else work


def _train(
    number: int,
    n: int,
    meeting: Path,
    data: Path,
    work: Path,
    settings: Settings,
    begin: Path | None,
) -> None:
    """Be one of n processes that train together."""
    from pretraining import measure, teacher, tokenizer, world

    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{meeting}", rank=number, world_size=n)
    if number:
        dist.barrier()  # what is made once is made by the first
    material = world.load(data, work)
    material.embed = teacher.Teacher(threads=1).embed
    vocabulary = tokenizer.load(work)
    place = _place(work, settings)
    place.mkdir(exist_ok=True)
    start, checkpoint = place / "start.pt", place / "checkpoint.pt"
    if not start.exists():
        torch.manual_seed(0)
        torch.save(model.teacher_embeddings(vocabulary, settings.size.width), start)
    if not number:
        dist.barrier()
    network = model.build(settings.size, torch.load(start, weights_only=True))
    trainer = Trainer(network, settings.size, settings)
    if begin is not None and not checkpoint.exists():
        trainer.start_from(begin, material, vocabulary)
    if not number:
        print("parameters", sum(p.numel() for p in network.parameters()), flush=True)
    run(
        trainer,
        material,
        vocabulary,
        checkpoint,
        lambda n: measure.quick(n, vocabulary, material, work),
    )
    dist.destroy_process_group()


if __name__ == "__main__":
    import argparse

    parser = argparse.ArgumentParser(description="Train the embedded chat model.")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("pretraining/work"))
    parser.add_argument("--tokens", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="bfloat16 in matrix products")
    parser.add_argument("--begin", type=Path, help="an exported model to go on from")
    parser.add_argument("--size", choices=sorted(model.SIZES), default="cpu")
    options = parser.parse_args()
    settings = Settings(tokens=options.tokens, size=model.SIZES[options.size], bf16=options.bf16)
    main(options.data, options.work, settings, options.threads, options.begin)

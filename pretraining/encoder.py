"""The recipe of the embedded encoder: a small student of all-MiniLM-L6-v2.

    python -m pretraining.encoder            prepare, train, chinese, export, measure
    python -m pretraining.encoder train      one step of it

It reads `texts.jsonl` and `teacher.npy` (`pretraining.corpus`, `pretraining.teacher`), adds
sentences of its own (`pretraining.encoder_texts`), and teaches the student to give every sentence
the teacher's vector, and every pair of sentences of a batch the teacher's similarity. Half of what
makes a batch useful are neighbours, so sentences come in chunks from one cluster.

Chinese, which the teacher hardly reads, is added afterwards: `pretraining.encoder_chinese`.

The student's word-piece vectors start from the teacher's vectors of single word pieces, as
distillation into static vectors does; no weight of the teacher is copied.

Source:
    Sentence distillation: Reimers and Gurevych (2020), arXiv:2004.09813.
    Similarity distillation: Tung and Mori (2019), arXiv:1907.09682.
    Weights of frequent words: Arora, Liang, Ma (2017), "A simple but tough-to-beat baseline".
    Relative position biases: Raffel et al. (2020), arXiv:1910.10683.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from torch import nn

from promptbot.models.encoder import (
    CONFIG_FILE,
    EMBEDDED_FOLDER,
    FORMAT,
    TOKENIZER_FILE,
    WEIGHTS_FILE,
    StudentConfig,
)

SIZES = StudentConfig(
    layers=2, heads=4, width=256, inner=928, dimension=384, reach=16, max_tokens=128
)
ADDED = ("encoder_texts", "wide_texts")
"""Files of sentences that only the encoder and the summaries, or only the encoder, learn from."""
N_GRAMMAR, N_CHAINED = 120_000, 45_000
"""Sentences added by the grammar and by the chain over the corpus."""
N_SWAPPED, N_BUSINESS = 120_000, 90_000
"""Sentences of the corpus with other words in them, and such that businesses are asked."""
N_COMMON = 400
"""How many of the corpus's words are never exchanged: they tell how a sentence is built."""
SWAPPED = (
    "query_wellformedness", "disfl_qa", "dolly_short", "clinc150", "ms_chitchat", "topical_chat",
    "chatterbot_corpus", "chatterbot", "medquad", "self_instruct_seeds", "cima",
)  # fmt: skip
"""Sources whose sentences get other words."""
NOT_CHAINED = ("wikisplit", "gsm8k")
"""Sources whose sentences are too long to say what users of a chatbot say."""
TRAIN_TOKENS = 48
"""Sentences are cut here while training; positions are relative, so longer ones still work."""
CHUNK, CHUNKS = 64, 4
"""Sentences from one cluster, and clusters, in a batch."""
N_CLUSTERS = 500
TEMPERATURE = 0.05
"""Of the softmax over a sentence's similarities to the rest of its batch."""
FREQUENT = 2e-3
"""Share of all tokens at which a word piece starts with half the weight of a rare one."""
N_STEPS = 8000
"""Training steps of 256 sentences: each sentence is seen about six times."""
PIECE_RMS = 1.0
"""Size of the word-piece vectors' entries at the start."""


class Layer(nn.Module):
    """Attention with relative position biases, then a feed-forward layer, both residual."""

    def __init__(self, sizes: StudentConfig) -> None:
        super().__init__()
        d = sizes.width
        self.sizes = sizes
        self.norm1, self.norm2 = nn.RMSNorm(d, eps=1e-6), nn.RMSNorm(d, eps=1e-6)
        self.qkv = nn.Linear(d, 3 * d, bias=False)
        self.out = nn.Linear(d, d, bias=False)
        self.up = nn.Linear(d, sizes.inner)
        self.down = nn.Linear(sizes.inner, d, bias=False)
        self.bias = nn.Parameter(torch.zeros(sizes.heads, 2 * sizes.reach + 1))
        for linear in (self.qkv, self.up):
            nn.init.normal_(linear.weight, std=d**-0.5)
        nn.init.zeros_(self.up.bias)
        # At the start a layer changes little: the student begins as a bag of good word vectors.
        nn.init.normal_(self.out.weight, std=0.1 * d**-0.5)
        nn.init.normal_(self.down.weight, std=0.1 * sizes.inner**-0.5)

    def forward(self, x: torch.Tensor, place: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return the tokens' new vectors.  # (n_tokens, width)

        Args:
            x: All tokens of the batch, one after the other; only attention sees padding.
            place: Each token's index in the padded batch.  # (n_tokens,)
            mask: True where a padded place holds a token.  # (n_texts, length)
        """
        s = self.sizes
        n, length = mask.shape
        padded = x.new_zeros(n * length, 3 * s.width).index_copy(0, place, self.qkv(self.norm1(x)))
        q, k, v = padded.view(n, length, 3, s.heads, -1).permute(2, 0, 3, 1, 4)
        steps = torch.arange(length)
        distance = (steps[None] - steps[:, None]).clamp(-s.reach, s.reach) + s.reach
        bias = self.bias[:, distance][None].masked_fill(~mask[:, None, None], -1e9)
        mixed = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias)
        mixed = mixed.transpose(1, 2).reshape(n * length, s.width)[place]
        x = x + self.out(mixed)
        return x + self.down(torch.relu(self.up(self.norm2(x))))


class Student(nn.Module):
    """The student in torch; `promptbot.models.encoder.StudentEncoder` runs it in numpy."""

    def __init__(self, sizes: StudentConfig, n_tokens: int) -> None:
        super().__init__()
        self.sizes = sizes
        self.rows = nn.Embedding(n_tokens, sizes.width)
        self.layers = nn.ModuleList(Layer(sizes) for _ in range(sizes.layers))
        self.norm = nn.RMSNorm(sizes.width, eps=1e-6)
        self.gate = nn.Parameter(torch.zeros(sizes.width))
        self.project = nn.Linear(sizes.width, sizes.dimension)

    def forward(self, texts: Sequence[NDArray[np.int32]]) -> torch.Tensor:
        """Return the unit vectors of tokenised texts, none of them empty.  # (n, dimension)"""
        lengths = torch.tensor([len(t) for t in texts])
        n, length = len(texts), int(lengths.max())
        mask = torch.arange(length)[None] < lengths[:, None]
        place = mask.view(-1).nonzero()[:, 0]
        x = self.rows(torch.from_numpy(np.concatenate(texts)).long())
        for layer in self.layers:
            x = layer(x, place, mask)
        gate = torch.full((n * length,), -1e9).index_copy(0, place, self.norm(x) @ self.gate)
        weight = gate.view(n, length).softmax(-1).view(-1)[place]
        text = torch.arange(n).repeat_interleave(lengths)
        mean = x.new_zeros(n, self.sizes.width).index_add(0, text, x * weight[:, None])
        return nn.functional.normalize(self.project(mean), dim=-1)

    def arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the weights as the numpy runtime wants them: float32, norms' gains folded in."""
        size = self.sizes.width // self.sizes.heads

        def array(tensor: torch.Tensor) -> NDArray[np.float32]:
            return tensor.detach().float().numpy().copy()

        arrays = {
            "rows": array(self.rows.weight),
            "scales": np.ones(self.rows.num_embeddings, dtype=np.float32),
            "gate": array(self.gate * self.norm.weight),
            "project": array(self.project.weight.T),
            "project_bias": array(self.project.bias),
        }
        for i, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            qkv = (layer.qkv.weight * layer.norm1.weight).T.clone()
            qkv[:, : self.sizes.width] *= size**-0.5
            arrays[f"{i}.qkv"] = array(qkv)
            arrays[f"{i}.bias"] = array(layer.bias)
            arrays[f"{i}.out"] = array(layer.out.weight.T)
            arrays[f"{i}.up"] = array((layer.up.weight * layer.norm2.weight).T)
            arrays[f"{i}.up_bias"] = array(layer.up.bias)
            arrays[f"{i}.down"] = array(layer.down.weight.T)
        return arrays


def make_tokenizer() -> tuple[Tokenizer, NDArray[np.int64]]:
    """Return lower-cased word pieces and, for each, its number in the teacher's vocabulary.

    They are the teacher's pieces that are written in Latin letters, digits or punctuation.
    """
    from tokenizers.models import WordPiece

    from pretraining.teacher import model_path

    tokenizer = Tokenizer.from_file(str(model_path() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    old = sorted(tokenizer.get_vocab(with_added_tokens=False).items(), key=lambda item: item[1])
    kept = [
        (piece, number)
        for piece, number in old
        if piece == "[UNK]"
        or (not piece.startswith("[unused") and piece not in SPECIAL and max(piece) < "\u0180")
        or (len(piece) == 1 and "\u2010" <= piece <= "\u20bf")
    ]
    pieces = {piece: i for i, (piece, _) in enumerate(kept)}
    fresh = Tokenizer(WordPiece(pieces, unk_token="[UNK]", max_input_chars_per_word=64))
    fresh.normalizer = tokenizer.normalizer
    fresh.pre_tokenizer = tokenizer.pre_tokenizer
    return fresh, np.array([number for _, number in kept])


SPECIAL = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")


def piece_vectors(numbers: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the teacher's sentence vectors of single word pieces.  # (n_pieces, 384)"""
    from transformers import AutoModel, AutoTokenizer

    from pretraining.teacher import model_path

    tokenizer = AutoTokenizer.from_pretrained(model_path())
    model = AutoModel.from_pretrained(model_path()).eval()
    vectors = []
    with torch.inference_mode():
        for start in range(0, len(numbers), 512):
            piece = torch.from_numpy(numbers[start : start + 512])
            ends = torch.tensor([tokenizer.cls_token_id, tokenizer.sep_token_id])
            first, last = ends.expand(len(piece), 2).T
            hidden = model(input_ids=torch.stack([first, piece, last], dim=1)).last_hidden_state
            vectors.append(nn.functional.normalize(hidden.mean(1), dim=-1))
    return torch.cat(vectors).numpy()


def near_words(
    tokenizer: Tokenizer, pieces: NDArray[np.float32], common: Sequence[str], n: int = 40
) -> dict[str, list[str]]:
    """Return whole words, each with the n nearest to it by the teacher's vectors of the words.

    Args:
        tokenizer: Whose pieces they are.
        pieces: Their vectors.  # (n_pieces, 384)
        common: Words to leave out: what is often said tells how a sentence is built.
        n: How many.
    """
    from pretraining.tokenizer import spelt

    left_out = set(common)
    every = enumerate(spelt(tokenizer))
    words = [(w, i) for i, w in every if re.fullmatch("[a-z]{3,}", w) and w not in left_out]
    vectors = pieces[[i for _, i in words]]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found: dict[str, list[str]] = {}
    for start in range(0, len(words), 1024):
        order = np.argsort(-(vectors[start : start + 1024] @ vectors.T), axis=1)[:, 1 : n + 1]
        for (word, _), nearest in zip(words[start : start + 1024], order, strict=True):
            found[word] = [words[i][0] for i in nearest]
    return found


def made_sentences(work: Path) -> list[str]:
    """Return sentences of customers, by a grammar and by the words that follow one another."""
    from pretraining.encoder_texts import chained_sentences, grammar_sentences

    seeds = [
        row["text"]
        for row in _rows(work / "texts.jsonl")
        if row["split"] == "train" and row["source"] not in NOT_CHAINED
    ]
    return [
        *grammar_sentences(N_GRAMMAR, seed=1),
        *chained_sentences(seeds, N_CHAINED, seed=2),
    ]


def wide_sentences(data: Path, work: Path) -> list[str]:
    """Return sentences about anything: longer ones of the corpus, and such with other words.

    A student of customers' messages alone reads what pupils or readers ask far worse: the cosine
    to the teacher was .89 on trained sources, .78 on the messages of the suite `tutor`.
    """
    from pretraining import corpus
    from pretraining.encoder_texts import (
        business_sentences,
        fresh,
        split_sentences,
        swapped_sentences,
    )
    from pretraining.world import word_lists

    material = corpus.load(work)
    texts = [text.text for text in material.texts if text.split == "train"]
    said = [
        text
        for dialogue in material.dialogues
        if dialogue.split == "train" and dialogue.source in SWAPPED
        for _, text in dialogue.messages
    ]
    said += [t for a in material.answers if a.split == "train" for t in (a.question, a.answer)]
    said += [corpus.clean(t) for r in corpus.load_rows(data, "wikisplit/tune") for t in r["simple"]]
    said += [row["question"] for row in corpus.load_rows(data, "gsm8k/train")]
    written = (data / "wikitext2/valid.txt").read_text(encoding="utf-8").split("\n")
    said += [corpus.clean(t.replace("@-@", "-")) for t in written if "<unk>" not in t]
    long = list(fresh((s for text in said for s in split_sentences(text)), texts))
    tokenizer, _ = make_tokenizer()
    counts = Counter(w for text in texts for w in set(re.findall(r"\w+", text.lower())))
    common = [word for word, _ in counts.most_common(N_COMMON)]
    near = near_words(tokenizer, np.load(work / "encoder_pieces.npy"), common)
    general = [t.text for t in material.texts if t.split == "train" and t.source in SWAPPED]
    general += [text for text in long if len(text) < 100]
    return [
        *long,
        *swapped_sentences(general, near, N_SWAPPED, seed=4),
        *business_sentences(word_lists(data, material.texts), N_BUSINESS, seed=5),
    ]


def prepare(data: Path, work: Path) -> None:
    """Write the added sentences, of each part of `ADDED` a JSONL file and the vectors, `.npy`."""
    from pretraining.corpus import build_filter
    from pretraining.teacher import embed

    pieces = work / "encoder_pieces.npy"
    if not pieces.exists():
        _, numbers = make_tokenizer()
        np.save(pieces, piece_vectors(numbers))
    for name in ADDED:
        target, vectors = work / f"{name}.jsonl", work / f"{name}.npy"
        if not target.exists():
            added = made_sentences(work) if name == ADDED[0] else wide_sentences(data, work)
            leak = build_filter(data)
            kept = [text for text in added if not leak.leaks(text)]
            print(f"{name}: {len(kept)} sentences, {len(added) - len(kept)} dropped as leaks")
            with target.open("w", encoding="utf-8") as file:
                file.writelines(json.dumps({"text": text}) + "\n" for text in kept)
        if not vectors.exists():
            np.save(vectors, embed([row["text"] for row in _rows(target)], threads=1))


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def rows_and_vectors(
    work: Path, name: str, target: str
) -> tuple[list[dict[str, Any]], NDArray[np.float16]]:
    """Return the rows of a file of sentences and the teacher's vectors of them.  # (n_rows, 384)"""
    rows = _rows(work / f"{name}.jsonl")
    vectors = np.load(work / f"{target}.npy")
    if len(rows) != len(vectors):
        raise ValueError(
            f"{work / target}.npy has {len(vectors)} rows, {name}.jsonl {len(rows)}: "
            "delete the vectors and make them again."
        )
    return rows, vectors


def load_targets(work: Path) -> tuple[list[str], NDArray[np.float16]]:
    """Return all training sentences and the teacher's vectors of them.  # (n_texts, 384)"""
    texts: list[str] = []
    vectors = []
    for name, target in (("texts", "teacher"), *((name, name) for name in ADDED)):
        rows, wanted = rows_and_vectors(work, name, target)
        train = [i for i, row in enumerate(rows) if row.get("split", "train") == "train"]
        texts += [rows[i]["text"] for i in train]
        vectors.append(wanted[train])
    return texts, np.concatenate(vectors)


def first_weights(
    student: Student, pieces: NDArray[np.float32], tokens: Sequence[NDArray[np.int32]]
) -> None:
    """Start the student as a bag of the teacher's word-piece vectors, frequent ones light."""
    counts = np.bincount(np.concatenate(tokens), minlength=len(pieces))
    weight = FREQUENT / (FREQUENT + counts / counts.sum())
    centred = pieces - pieces.mean(0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[: student.sizes.width]  # (width, 384)
    rows = (centred @ axes.T) * weight[:, None]
    scale = PIECE_RMS / math.sqrt(float((rows**2).mean()))
    with torch.no_grad():
        student.rows.weight.copy_(torch.from_numpy(rows * scale))
        student.project.weight.copy_(torch.from_numpy(axes.T / scale))
        student.project.bias.zero_()


def start_from(student: Student, folder: Path) -> None:
    """Take the weights of an exported student: the word pieces that both have, and all layers."""
    from safetensors.numpy import load_file

    arrays = {k: a.astype(np.float32) for k, a in load_file(folder / WEIGHTS_FILE).items()}
    width = student.sizes.width
    rows = arrays["rows"] * arrays["scales"][:, None]
    state = {
        "rows.weight": rows[: student.rows.num_embeddings],  # Chinese pieces are the last
        "gate": arrays["gate"],
        "project.weight": arrays["project"].T,
        "project.bias": arrays["project_bias"],
    }
    for i in range(student.sizes.layers):
        qkv = arrays[f"{i}.qkv"].T.copy()
        qkv[:width] *= (width // student.sizes.heads) ** 0.5
        state[f"layers.{i}.qkv.weight"] = qkv
        state[f"layers.{i}.up.bias"] = arrays[f"{i}.up_bias"]
        state[f"layers.{i}.bias"] = arrays[f"{i}.bias"]
        for name in ("out", "up", "down"):
            state[f"layers.{i}.{name}.weight"] = arrays[f"{i}.{name}"].T
    tensors = {k: torch.from_numpy(np.ascontiguousarray(a)) for k, a in state.items()}
    # The gains of the norms are part of the exported matrices; fresh ones are 1.
    missing = student.load_state_dict(tensors, strict=False).missing_keys
    assert all("norm" in name for name in missing)


def clusters(vectors: NDArray[np.float16], n_clusters: int, seed: int) -> NDArray[np.int64]:
    """Return each vector's cluster, by six rounds of spherical k-means.  # (n_vectors,)"""
    rng = np.random.default_rng(seed)
    sample = vectors[rng.choice(len(vectors), min(len(vectors), 25_000), replace=False)]
    sample = sample.astype(np.float32)
    n_clusters = min(n_clusters, len(sample))
    centres = sample[:n_clusters].copy()
    for _ in range(6):
        nearest = (sample @ centres.T).argmax(1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, sample)
        used = np.bincount(nearest, minlength=n_clusters) > 0
        centres[used] = sums[used]
        centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    return np.concatenate(
        [
            (vectors[i : i + 8192].astype(np.float32) @ centres.T).argmax(1)
            for i in range(0, len(vectors), 8192)
        ]
    )


def batches(cluster: NDArray[np.int64], seed: int) -> Iterator[NDArray[np.int64]]:
    """Yield batches of sentence numbers without end: chunks of neighbours, shuffled each epoch."""
    epoch = 0
    while True:
        rng = np.random.default_rng((seed, epoch))
        order = rng.permutation(len(cluster))
        order = order[np.argsort(cluster[order], kind="stable")]
        # A random start moves the chunks' borders, so that clusters mix differently each time.
        order = np.roll(order, int(rng.integers(CHUNK)))
        n_chunks = len(order) // CHUNK
        chunks = order[: n_chunks * CHUNK].reshape(n_chunks, CHUNK)[rng.permutation(n_chunks)]
        for start in range(0, n_chunks - CHUNKS + 1, CHUNKS):
            yield chunks[start : start + CHUNKS].reshape(-1)
        epoch += 1


def loss_of(student: torch.Tensor, teacher: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return how far vectors and how far similarities are from the teacher's.

    The first is the mean of 1 - cosine; the second the mean divergence, in nats, of the softmax
    over each sentence's similarities to the other sentences of the batch.
    """
    direct = 1 - (student * teacher).sum(1).mean()
    n = len(student)
    others = ~torch.eye(n, dtype=torch.bool)
    wanted = (teacher @ teacher.T)[others].view(n, n - 1) / TEMPERATURE
    given = (student @ student.T)[others].view(n, n - 1) / TEMPERATURE
    ranking = nn.functional.kl_div(
        given.log_softmax(1), wanted.log_softmax(1), log_target=True, reduction="batchmean"
    )
    return direct, ranking


def train(
    work: Path,
    n_steps: int,
    seed: int = 0,
    sizes: StudentConfig = SIZES,
    begin: Path | None = None,
    bf16: bool = False,
    threads: int = 1,
) -> Student:
    """Return the trained student; resumes from `encoder.pt` where that exists.

    On a CPU with instructions for bfloat16 0.4 s a step with one thread, 0.25 s with two.

    `begin`: an exported student to begin with, where there is no checkpoint yet; `bf16`: whether
    matrix products run in bfloat16, which is faster where the CPU has instructions for it.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    texts, targets = load_targets(work)
    tokenizer, _ = make_tokenizer()
    tokenizer.enable_truncation(TRAIN_TOKENS)
    unknown = tokenizer.get_vocab()["[UNK]"]
    tokens = [
        np.array(encoding.ids or [unknown], dtype=np.int32)
        for encoding in tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    ]
    cluster = clusters(targets, N_CLUSTERS, seed)
    student = Student(sizes, tokenizer.get_vocab_size())
    if begin is None:
        first_weights(student, np.load(work / "encoder_pieces.npy"), tokens)
    else:
        start_from(student, begin)
    matrices = [p for name, p in student.named_parameters() if p.ndim > 1 and name != "rows.weight"]
    vectors = [p for p in student.parameters() if p.ndim == 1]
    optimizer = torch.optim.AdamW(
        [
            {"params": [student.rows.weight], "lr": 3e-3, "weight_decay": 0.0},
            {"params": matrices, "lr": 1.5e-3, "weight_decay": 0.01},
            {"params": vectors, "lr": 3e-3, "weight_decay": 0.0},
        ],
        betas=(0.9, 0.98),
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / 100, 1.0) * max(0.02, 1 - step / n_steps),
    )
    checkpoint = work / "encoder.pt"
    done = 0
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        student.load_state_dict(state["student"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        done = state["step"]
    print(f"{len(texts)} sentences, {sum(map(len, tokens))} tokens, from step {done}", flush=True)

    def save(step: int) -> None:
        part = checkpoint.with_suffix(".part")
        state = {
            "student": student.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "step": step,
        }
        torch.save(state, part)
        part.replace(checkpoint)

    began = time.monotonic()
    sums = np.zeros(2)
    for step, batch in enumerate(batches(cluster, seed), 1):
        if step <= done:
            continue
        if step > n_steps:
            break
        teacher = torch.from_numpy(targets[batch].astype(np.float32))
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            given = student([tokens[i] for i in batch])
        direct, ranking = loss_of(given.float(), teacher)
        loss = direct + 0.5 * ranking
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        sums += float(direct.detach()), float(ranking.detach())
        if step % 50 == 0:
            spent = (time.monotonic() - began) / (step - done)
            print(
                f"step {step} of {n_steps}: 1 - cosine {sums[0] / 50:.4f}, "
                f"ranking {sums[1] / 50:.4f}, {spent:.2f} s a step",
                flush=True,
            )
            sums[:] = 0
        if step % 250 == 0 or step == n_steps:
            save(step)
    return student


def quantised(rows: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float16]]:
    """Return rows as int8 with one scale each: `rows` is about `int8 * scale[:, None]`."""
    scales = np.maximum(np.abs(rows).max(1) / 127, 1e-4).astype(np.float16)
    whole = np.round(rows / scales[:, None].astype(np.float32)).clip(-127, 127)
    return whole.astype(np.int8), scales


def export(student: Student, tokenizer: Tokenizer, folder: Path) -> None:
    """Write weights, tokenizer and configuration into a folder that `load_student` reads."""
    from safetensors.numpy import save

    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, NDArray[Any]] = dict(student.arrays())
    arrays["rows"], arrays["scales"] = quantised(arrays["rows"])
    for name, array in arrays.items():
        if name != "rows":
            arrays[name] = np.ascontiguousarray(array, dtype=np.float16)
    tokenizer.no_truncation()
    files = {
        WEIGHTS_FILE: save(arrays),
        TOKENIZER_FILE: tokenizer.to_str().encode("utf-8"),
    }
    config = {
        "promptbot_encoder": FORMAT,
        "teacher": "all-MiniLM-L6-v2",
        "sizes": asdict(student.sizes),
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    }
    files[CONFIG_FILE] = (json.dumps(config, indent=2) + "\n").encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def load_trained(path: Path, sizes: StudentConfig = SIZES) -> Student:
    """Return the student of a checkpoint."""
    state = torch.load(path, weights_only=True)["student"]
    student = Student(sizes, len(state["rows.weight"]))
    student.load_state_dict(state)
    return student


def main() -> None:
    """Run the recipe, or one step of it."""
    import argparse

    parser = argparse.ArgumentParser(description="Make the embedded encoder.")
    steps = ("prepare", "train", "chinese", "export", "measure")
    parser.add_argument("step", nargs="?", choices=steps, help="only this step; default: all")
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("pretraining/work"))
    parser.add_argument("--out", type=Path, default=EMBEDDED_FOLDER)
    parser.add_argument("--steps", type=int, default=N_STEPS, help="of training")
    parser.add_argument("--begin", type=Path, help="an exported encoder to go on from")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 in matrix products")
    parser.add_argument("--threads", type=int, default=1, help="of training")
    options = parser.parse_args()
    data, work = options.data, options.work
    if not data.is_dir():
        parser.error(f"{data}: no such folder. Give the folder of the public data sets as --data.")
    wanted = [options.step] if options.step else list(steps)
    both, tokenizer = work / "encoder_both.pt", work / "encoder_tokenizer.json"
    if "prepare" in wanted:
        prepare(data, work)
    if "train" in wanted:
        train(work, options.steps, begin=options.begin, bf16=options.bf16, threads=options.threads)
    if "chinese" in wanted:
        from pretraining import encoder_chinese

        english = load_trained(work / "encoder.pt")
        texts = encoder_chinese.load_texts(data)
        student, pieces = encoder_chinese.train(english, make_tokenizer()[0], texts)
        torch.save({"student": student.state_dict()}, both)
        pieces.save(str(tokenizer))
    if "export" in wanted:
        export(load_trained(both), Tokenizer.from_file(str(tokenizer)), options.out)
    if "measure" in wanted:
        from benchmarks.encoder import measure

        measure(data, [str(options.out), "teacher"])


if __name__ == "__main__":
    main()

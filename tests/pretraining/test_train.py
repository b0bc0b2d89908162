"""A training that was stopped goes on as if it had not been."""

from __future__ import annotations

import json
import os
import pickle
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from tokenizers import Tokenizer
from torch.multiprocessing.spawn import start_processes

from pretraining import model, train
from pretraining.tokenizer import build, spelt
from pretraining.world import World
from tests.pretraining.conftest import little_tokenizer, little_world

TINY = model.Size(width=48, layers=3, heads=6, inner=64)


def trainer(tokenizer: Tokenizer, **changes: int) -> train.Trainer:
    torch.manual_seed(1)
    torch.set_num_threads(1)
    settings = train.Settings(
        **{"tokens": 10**6, "batch_tokens": 512, "pool": 6, **changes}, size=TINY
    )
    embeddings = torch.randn(tokenizer.get_vocab_size(), TINY.width)
    return train.Trainer(model.build(TINY, embeddings), TINY, settings)


def steps(t: train.Trainer, world: World, tokenizer: Tokenizer, n: int) -> None:
    for batch in train.stream(world, tokenizer, t.settings, t.progress):
        t.step(batch, world)
        n -= 1
        if n == 0:
            return


@pytest.mark.parametrize("tokens", [0, 250_000, 700_000, 2_000_000])
def test_resumed_run_equals_unbroken_run(
    tokens: int, world: World, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    whole, first, second = (trainer(tokenizer) for _ in range(3))
    for t in (whole, first):
        t.progress.tokens = t.progress.asked.tokens = tokens
    steps(whole, world, tokenizer, 5)
    steps(first, world, tokenizer, 2)
    first.save(tmp_path / "checkpoint.pt")
    second.load(tmp_path / "checkpoint.pt")
    steps(second, world, tokenizer, 3)
    assert second.progress == whole.progress
    for a, b in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(a, b)


def test_run_ends_with_the_budget_and_keeps_its_checkpoint(
    world: World, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    path = tmp_path / "checkpoint.pt"
    first = trainer(tokenizer, tokens=2000)
    assert train.run(first, world, tokenizer, path)
    assert 2000 <= first.progress.tokens < 2000 + 1024
    longer = trainer(tokenizer, tokens=4000)
    assert train.run(longer, world, tokenizer, path)
    assert longer.progress.step > first.progress.step


def test_a_small_model_has_its_folder_in_every_process(tmp_path: Path) -> None:
    for size, place in ((model.SMALL, tmp_path / "small"), (model.CPU, tmp_path)):
        sent = pickle.loads(pickle.dumps(train.Settings(tokens=1, size=size)))
        assert train._place(tmp_path, sent) == place


def test_rate_rises_stays_and_falls_by_tokens(tokenizer: Tokenizer) -> None:
    t = trainer(tokenizer)
    assert t.rate() < 0.1
    t.progress.step = 1000
    t.progress.tokens = 500_000
    assert t.rate() == 1.0
    t.progress.tokens = 800_000
    assert 0.4 < t.rate() < 0.6
    t.progress.tokens = 1_000_000
    assert t.rate() == pytest.approx(0.03)


def test_copying_heads_start_as_a_projection_and_stay_frozen(
    world: World, tokenizer: Tokenizer
) -> None:
    t = trainer(tokenizer)
    n = TINY.copy_width
    attention = t.network.model.layers[TINY.copy_layer].self_attn
    product = attention.o_proj.weight[:, :n] @ attention.v_proj.weight[:n] / 2.0
    assert torch.allclose(product @ product, product, atol=1e-4)
    before = attention.v_proj.weight[:n].detach().clone()
    steps(t, world, tokenizer, 3)
    # Only weight decay touches them.
    change = attention.v_proj.weight[:n] / before
    assert torch.allclose(change, change.mean().expand_as(change), atol=1e-4)


def test_training_goes_on_from_an_exported_model_with_new_tokens(
    world: World, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    fewer = build((" " + t for t in world.texts), size=330)
    old = model.build(TINY, torch.randn(fewer.get_vocab_size(), TINY.width))
    old.save_pretrained(tmp_path)
    fewer.save(str(tmp_path / "tokenizer.json"))
    card = {"training_tokens": 900_000, "training_steps": 40, "files": {}}
    (tmp_path / "card.json").write_text(json.dumps(card), encoding="utf-8")
    t = trainer(tokenizer)
    t.start_from(tmp_path, world, tokenizer)
    new = dict(t.network.named_parameters())
    rows = new["model.embed_tokens.weight"]
    places = fewer.get_vocab()
    unknown = []
    for name, weights in old.named_parameters():
        if name != "model.embed_tokens.weight":
            assert torch.equal(new[name], weights)
    for i, token in enumerate(spelt(tokenizer)):
        if token in places:
            assert torch.equal(rows[i], old.model.embed_tokens.weight[places[token]])
        else:
            unknown.append(i)
    assert len(unknown) > 50
    assert rows[unknown].pow(2).mean().sqrt().item() == pytest.approx(1.0, abs=0.2)
    # It has been read enough: nothing stands between its first step and an episode.
    assert t.progress.read_tokens == train.READ_SHARE * 900_000 + train.READ_FIRST
    assert (t.progress.tokens, t.progress.step) == (900_000, 40)
    assert t.rate() < 0.1
    t.progress.step = 1000
    assert t.rate() == pytest.approx(train.GO_ON_RATE, abs=0.03)
    t.progress.tokens = 950_000  # half of what is left
    assert t.rate() == pytest.approx(train.GO_ON_RATE / 2, abs=0.03)
    t.progress.tokens, t.progress.step = 900_000, 40
    steps(t, world, tokenizer, 2)
    assert t.progress.step == 42


def test_the_fitted_read_out_finds_summaries_that_a_drawn_one_does_not(
    world: World, tokenizer: Tokenizer
) -> None:
    t = trainer(tokenizer)
    with torch.no_grad():
        batches = train.make_pool(world, tokenizer, t.settings, train.Place(-1), read=True)
        for batch in batches:
            t.summaries(t.read(batch), batch, world, 0.0)
        before = t.recent["read cosine"].copy()
        t.recent.clear()
        t.fit_reader(world, tokenizer, pools=2)
        for batch in batches:
            t.summaries(t.read(batch), batch, world, 0.0)
    assert sum(t.recent["read cosine"]) / len(batches) > sum(before) / len(batches) + 0.05


def test_summaries_are_read_as_the_whole_model_would(world: World, tokenizer: Tokenizer) -> None:
    t = trainer(tokenizer)
    with torch.no_grad():
        for batch in train.make_pool(world, tokenizer, t.settings, train.Place(-1), read=True):
            t.network.model(batch.ids)
            where = torch.tensor([s[:2] for s in batch.summaries])
            whole = t.tap["summary"][where[:, 0], where[:, 1]]
            assert torch.allclose(t.read(batch), whole, atol=1e-5)


def together(number: int, folder: Path) -> None:
    """Be one of two that train: unbroken, then until the second is stopped, then on from there."""
    dist.init_process_group("gloo", f"file://{folder / 'meeting'}", rank=number, world_size=2)
    world = little_world()
    tokenizer = little_tokenizer(world)

    def go(name: str, stop_at: int = -1) -> tuple[bool, int, torch.Tensor]:
        t = trainer(tokenizer, tokens=9000)
        if number:
            with torch.no_grad():
                t.network.lm_head.weight.add_(1.0)  # the first one's weights become those of both
        step = t.step

        def interrupted(*given: Any) -> bool:
            if number and t.progress.step == stop_at:
                os.kill(os.getpid(), signal.SIGTERM)
            return step(*given)

        t.step = interrupted  # type: ignore[method-assign]
        ended = train.run(t, world, tokenizer, folder / f"{name}.pt")
        weights = torch.cat([p.detach().view(-1) for p in t.network.parameters()])
        return ended, t.progress.step, weights

    runs = {"whole": go("whole"), "stopped": go("parts", stop_at=6), "resumed": go("parts")}
    torch.save(runs, folder / f"runs.{number}")
    dist.destroy_process_group()


def test_processes_train_one_model_and_stop_and_resume_together(tmp_path: Path) -> None:
    start: Any = start_processes
    start(together, (tmp_path,), 2, start_method="spawn")
    first, second = (torch.load(tmp_path / f"runs.{n}", weights_only=True) for n in range(2))
    for name, (ended, step, weights) in first.items():
        assert (ended, step) == second[name][:2]
        assert torch.equal(weights, second[name][2])
    # The seventh step began when the stop was asked for; the one after it told the other.
    assert first["stopped"][:2] == (False, 8)
    assert first["whole"][:2] == first["resumed"][:2]
    assert first["whole"][0]
    assert torch.equal(first["resumed"][2], first["whole"][2])


def test_the_mean_gradient_of_two_processes_is_that_of_both_batches(
    world: World, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    t = trainer(tokenizer)
    batch = next(train.stream(world, tokenizer, t.settings, t.progress))
    t.loss(batch, world).backward()  # type: ignore[no-untyped-call]
    mine = [None if p.grad is None else p.grad.clone() for p in t.network.parameters()]
    monkeypatch.setattr(train, "ranks", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda flat: flat.mul_(3.0))  # the other's is twice it
    assert t.share(5.0, 1.0) == [15.0, 3.0]
    for p, before in zip(t.network.parameters(), mine, strict=True):
        assert (p.grad is None) == (before is None)
        if p.grad is not None and before is not None:
            assert torch.allclose(p.grad, 1.5 * before)


def test_stutters_hide_only_words_inside_what_the_bot_says() -> None:
    ids = torch.arange(1, 2001).view(10, 200)
    weights = torch.full((10, 200), 0.02)
    weights[:, 100:] = 1.0
    batch = train.Batch(ids, weights, [], [], torch.zeros(10, dtype=torch.bool))
    read = train.stutter(batch, seed=3)
    changed = read != ids
    assert 0.01 < changed[:, 101:199].float().mean() < 0.06
    assert not changed[:, :101].any()
    assert not changed[:, 199].any()
    assert (read[changed] == ids[changed] - 1).all()
    assert torch.equal(read, train.stutter(batch, seed=3))
    assert not torch.equal(read, train.stutter(batch, seed=4))


def test_a_blurred_summary_is_mixed_with_another_and_nothing_else_changes() -> None:
    torch.manual_seed(0)
    hidden = torch.randn(4, 9, 16)
    places = [(e, p) for e in range(4) for p in (2, 5, 8)]
    batch = train.Batch(
        torch.zeros(4, 9, dtype=torch.long),
        torch.zeros(4, 9),
        [(e, p, "") for e, p in places],
        [],
        torch.tensor([False, False, False, True]),
    )
    seen = train.blur(hidden, batch, seed=3)
    elsewhere = torch.ones(4, 9, dtype=torch.bool)
    mixed = 0
    for e, p in places:
        elsewhere[e, p] = False
        change = seen[e, p] - hidden[e, p]
        if not change.any():
            continue
        mixed += 1
        # What was added is a share, at most a half, of the way to one of the others.
        ways = torch.stack([hidden[x, y] - hidden[e, p] for x, y in places if (x, y) != (e, p)])
        shares = (ways @ change) / ways.pow(2).sum(1)
        rest, other = (change - shares[:, None] * ways).norm(dim=1).min(0)
        assert rest < 1e-5
        assert shares[other] <= (train.MISREAD_MOST if e == 3 else train.BLUR_MOST) + 1e-6
    assert 3 < mixed < len(places)
    assert all((seen[3, p] != hidden[3, p]).any() for p in (2, 5, 8))  # the misread episode
    assert torch.equal(seen[elsewhere], hidden[elsewhere])
    assert torch.equal(seen, train.blur(hidden, batch, seed=3))


def test_light_tokens_are_fewer_and_heavier_and_the_others_stay() -> None:
    weights = torch.cat([torch.full((30_000,), 0.02), torch.ones(100), torch.zeros(100)])
    found = train.lightened(weights, seed=1)
    light = found[:30_000]
    assert (light > 0).float().mean().item() == pytest.approx(train.LIGHT_KEPT, abs=0.02)
    assert light.mean().item() == pytest.approx(0.02, rel=0.05)
    assert torch.equal(found[30_000:], weights[30_000:])


def test_what_training_did_to_known_tokens_is_done_to_new_ones() -> None:
    torch.manual_seed(0)
    start = torch.randn(300, 8)
    turn = torch.linalg.qr(torch.randn(8, 8)).Q
    places = torch.arange(300) - 100  # the first hundred are new
    places[:100] = -1
    trained = (start @ turn)[100:]
    twins = torch.full((300,), -1)
    twins[0] = 150
    found = model.extended(start, trained, places, twins)
    assert 0.3 < torch.nn.functional.cosine_similarity(found[0], trained[150], dim=0) < 0.95
    assert torch.equal(found[100:], trained)
    cosine = torch.nn.functional.cosine_similarity(found[:100], (start @ turn)[:100])
    assert cosine.mean() > 0.85  # but for the noise that keeps near ones apart

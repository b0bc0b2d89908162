"""Make the embedded model from the public data sets: `python -m pretraining`.

Every step is skipped where its output exists; a stopped training goes on from its checkpoint.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pretraining import (
    chinese,
    corpus,
    encoder,
    encoder_chinese,
    export,
    measure,
    teacher,
    tokenizer,
    train,
)


def main() -> None:
    """Run the steps that are not done yet."""
    parser = argparse.ArgumentParser(prog="pretraining", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="the data sets")
    parser.add_argument("--work", type=Path, default=Path("pretraining/work"))
    parser.add_argument("--folder", type=Path, default=export.FOLDER, help="the exported model")
    parser.add_argument("--tokens", type=int, default=10_000_000, help="the training budget")
    parser.add_argument("--threads", type=int, default=2, help="processes that train")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 in matrix products")
    parser.add_argument("--begin", type=Path, help="an exported model to go on from")
    options = parser.parse_args()
    work: Path = options.work
    if not (work / "texts.jsonl").exists():
        corpus.main(options.data, work)
    teacher.main(work)
    encoder.prepare(options.data, work)
    if not (work / "tokenizer.json").exists():
        english = tokenizer.build(tokenizer.training_lines(corpus.load(work)))
        characters = chinese.characters(encoder_chinese.load_texts(options.data).all())
        tokenizer.with_characters(english, characters).save(str(work / "tokenizer.json"))
    settings = train.Settings(tokens=options.tokens, bf16=options.bf16)
    if not train.main(options.data, work, settings, options.threads, options.begin):
        return
    card = options.folder / "card.json"
    done = json.loads(card.read_text(encoding="utf-8")) if card.exists() else {}
    if done.get("training_tokens", 0) < options.tokens:
        export.export(work, options.folder)
    if not (work / "measured.json").exists():
        measure.main(options.folder, options.data, work, checkpoint=None, is_quick=False)


if __name__ == "__main__":
    main()

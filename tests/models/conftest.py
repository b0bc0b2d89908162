"""One tiny model for all tests of this folder."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint in the embedded model's layout, with its graph and card; read only."""
    import json

    from promptbot.models.export import export_onnx
    from promptbot.models.weights import checksums
    from tests.models.checkpoints import embedded_like

    folder = embedded_like(tmp_path_factory.mktemp("tiny") / "model")
    export_onnx(folder, check=False)
    names = [path.name for path in folder.iterdir()]
    (folder / "card.json").write_text(json.dumps({"files": checksums(folder, names)}))
    return folder

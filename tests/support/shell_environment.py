"""Makes the environment for commands that are run as they stand in README and docs."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def environment(folder: Path) -> dict[str, str]:
    """Returns the variables of a shell that knows no Golem and keeps its devnets below `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("YAGNA", "GSB"))}
    kept.pop("NIMA_GOLEM_DEVNET", None)
    path = f"{Path(sys.executable).parent}:{kept['PATH']}"
    # A run that these commands start ends its rounds after the first.
    return kept | {"XDG_DATA_HOME": str(folder / "share"), "PATH": path, "NIMA_GOLEM_TRAIN_HOURS": "0.001"}

"""Measures the memory of `nima-golem score` after a quarter, half and all of many photos.

    python scripts/benchmarks/score_memory.py --photos 20000 -- --html sheet.html

Arguments after `--` go to the command.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

DISTINCT = 50


def draw_photos(folder: Path, photos: int) -> None:
    """Writes so many small JPEGs with different content.

    Only a few of them look different; the others differ in the bytes after the end of the JPEG.
    """
    drawn = []
    for seed in range(DISTINCT):
        coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3), dtype=np.uint8)
        path = folder / "drawn.jpg"
        Image.fromarray(coarse).resize((320, 240), Image.Resampling.BICUBIC).save(path)
        drawn.append(path.read_bytes())
        path.unlink()
    for index in range(photos):
        (folder / f"{index:06}.jpg").write_bytes(drawn[index % DISTINCT] + index.to_bytes(4, "big"))


def resident_mb(process: int) -> int:
    """Returns the resident memory of a process in MB, as Linux reports it."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=20_000)
    parser.add_argument("options", nargs="*", help="of nima-golem score")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        draw_photos(Path(folder), options.photos)
        command = [
            sys.executable,
            "-m",
            "requestor.commands.main",
            "score",
            folder,
            "--format",
            "jsonl",
            *options.options,
        ]
        # The last rows arrive only when the pipe has room, so the end is measured a little before it.
        wanted = {round(options.photos * share): share for share in (0.25, 0.5, 0.99)}
        found = {}
        with subprocess.Popen(command, stdout=subprocess.PIPE) as program:
            assert program.stdout is not None
            for number, _ in enumerate(program.stdout, start=1):
                if number in wanted:
                    found[f"after {wanted[number]:.0%}"] = resident_mb(program.pid)
    print(json.dumps({"photos": options.photos, "resident_mb": found}))


if __name__ == "__main__":
    main()

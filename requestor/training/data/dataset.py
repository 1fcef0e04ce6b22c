"""Describes the data of one run as shards: those of each client, the hold-out, and the test photos."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nima.wire import ShardInfo
from requestor.planning import shards_within


@dataclass(frozen=True)
class Client:
    """A part of the training images, on which one client trains.

    shards: SHA-256 of each of its shards.
    paths: path of each shard on this machine.
    images: number of images in each shard.
    votes: SHA-256 of the votes of each shard, which lie beside it; none for photos that nobody trains on.
    """

    shards: tuple[str, ...]
    paths: tuple[Path, ...]
    images: tuple[int, ...]
    votes: tuple[str, ...] = ()

    @property
    def votes_paths(self) -> tuple[Path, ...]:
        """Returns the path of each file of votes on this machine."""
        return tuple(path.with_name(f"{name}{path.suffix}") for path, name in zip(self.paths, self.votes, strict=False))

    def for_round(self, number: int, photos: int) -> Client:
        """Returns a client with the shards that one round takes.

        Each round begins with the shard behind those of the round before, and after the last shard with the first
        again, so that all photos have their turn.

        Args:
            number: number of the round, from 0.
            photos: the most images that the round can take. The result has one shard even if this shard has more.
        """
        count = shards_within(self.images, photos)
        chosen = [(number * count + i) % len(self.shards) for i in range(count)]
        return Client(
            tuple(self.shards[i] for i in chosen),
            tuple(self.paths[i] for i in chosen),
            tuple(self.images[i] for i in chosen),
            tuple(self.votes[i] for i in chosen) if self.votes else (),
        )


@dataclass(frozen=True)
class Dataset:
    """The sharded data set of one run.

    clients: the clients, each with its shards.
    holdout: the shard that never leaves this machine.
    test: the shards of the test photos, for which there are no files of votes.
    skipped: the reasons why photos were left out, one for each photo.
    """

    clients: list[Client]
    holdout: ShardInfo
    test: Client
    skipped: list[str]

    @property
    def train_images(self) -> int:
        """Returns the number of images on which the clients train."""
        return sum(sum(client.images) for client in self.clients)

    def to_json(self) -> dict[str, Any]:
        """Returns the content of `dataset.json`; it names shards by their hashes, without paths."""
        return {
            "clients": [_client_to_json(client) for client in self.clients],
            "holdout": {
                "sha256": self.holdout.sha256,
                "images": self.holdout.images,
                "bytes": self.holdout.bytes,
            },
            "test": _client_to_json(self.test),
            "skipped": self.skipped,
        }

    @staticmethod
    def from_json(content: dict[str, Any], store: Path, home: Path) -> Dataset:
        """Makes the data set from what `to_json` returned.

        Args:
            store: folder with the shards of the clients and of the test.
            home: folder with the hold-out.
        """

        def client(shards: list[dict[str, Any]]) -> Client:
            names = tuple(str(shard["sha256"]) for shard in shards)
            paths = tuple(store / f"{name}.safetensors" for name in names)
            votes = tuple(str(shard["votes"]) for shard in shards if "votes" in shard)
            return Client(names, paths, tuple(int(shard["images"]) for shard in shards), votes)

        kept = content["holdout"]
        holdout = ShardInfo(kept["sha256"], home / f"{kept['sha256']}.safetensors", kept["images"], kept["bytes"])
        return Dataset([client(c) for c in content["clients"]], holdout, client(content["test"]), content["skipped"])


def _client_to_json(client: Client) -> list[dict[str, Any]]:
    shards: list[dict[str, Any]] = [
        {"sha256": name, "images": images} for name, images in zip(client.shards, client.images, strict=True)
    ]
    for shard, votes in zip(shards, client.votes, strict=False):
        shard["votes"] = votes
    return shards

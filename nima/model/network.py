"""Defines the network NIMA: a backbone, and a head that gives ten logits, one for each rating from 1 to 10."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import ArrayLike
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from nima.model.backbones import BackboneError, find_backbone, load_classifier_state
from nima.model.preparation import Preparation
from nima.ratings import BUCKETS, normalise_votes


@dataclass(frozen=True)
class Activations:
    """The outputs of the frozen blocks for a batch of B images, which are the input of the trained blocks.

    maps: output of the last frozen block, float32 `[B, …]`; if all blocks are frozen, the pooled output
        `[B, features]`.
    levels: pooled output `[B, channels]` of each frozen block; empty without multi-level features.
    """

    maps: Tensor
    levels: tuple[Tensor, ...] = ()

    def take(self, index: Any) -> Activations:
        """Returns the activations of some of the images; `index` is any index that tensors accept."""
        return Activations(self.maps[index], tuple(level[index] for level in self.levels))

    @staticmethod
    def concatenate(parts: Sequence[Activations]) -> Activations:
        """Joins the activations of several batches, in their order."""
        levels = zip(*(part.levels for part in parts), strict=True)
        return Activations(torch.cat([part.maps for part in parts]), tuple(torch.cat(level) for level in levels))


class Nima(nn.Module):
    """A backbone without its classifier, its pooling, dropout, and one dense layer of ten.

    Source: Talebi and Milanfar, "NIMA: Neural Image Assessment", 2017. BatchNorm is frozen: its statistics never change
    and are always used, because batches on providers are small and their statistics would drift apart (FixBN, arXiv
    2303.06530). Its scales and shifts are parameters like others.

    Args:
        backbone: a name of `nima.model.backbones`.
        weights: safetensors file with torchvision's state of that network; None for random weights.
        multi_level: True gives the head the pooled output of every block instead of the last block's (MLSP, arXiv
            1904.01382).
        preparation: turns a photo into the network's input; None for the backbone's own.

    Raises:
        BackboneError: there is no such backbone, or the weights cannot be read or do not fit.
    """

    mean: Tensor
    std: Tensor
    feature_mean: Tensor
    feature_std: Tensor

    def __init__(
        self,
        backbone: str,
        weights: Path | None = None,
        multi_level: bool = False,
        preparation: Preparation | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.multi_level = multi_level
        self.frozen_blocks = 0
        self.entry = find_backbone(backbone)
        self.preparation = preparation or self.entry.preparation
        network = self.entry.construct()
        parts = self.entry.take_apart(network)
        if weights is not None:
            load_classifier_state(network, parts, _read_state(weights))
        self.blocks = nn.ModuleList(parts.blocks)
        self.pool = parts.pool
        self.level_sizes = self._measure_levels() if multi_level else [self.entry.features]
        features = sum(self.level_sizes)
        self.dropout = nn.Dropout(0.75)
        self.head = nn.Linear(features, BUCKETS)
        self.register_buffer("feature_mean", torch.zeros(features))
        self.register_buffer("feature_std", torch.ones(features))
        self.register_buffer("mean", torch.tensor(self.preparation.mean).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(self.preparation.std).view(3, 1, 1))
        # Convolutions on CPUs run about twice as fast with the channels innermost.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, pixels: Tensor) -> Tensor:
        """Computes logits: RGB pixels, float32 `[B, 3, H, W]` in 0..1 → `[B, 10]`; normalises the pixels itself."""
        return self.after_frozen(self.frozen(pixels))

    def frozen(self, pixels: Tensor) -> Activations:
        """Runs the frozen blocks (`train_last`), without gradients: RGB pixels `[B, 3, H, W]` in 0..1 → activations."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.frozen_blocks == 0):
            x = (pixels.contiguous(memory_format=torch.channels_last) - self.mean) / self.std
            x, levels = self._run(x, 0, self.frozen_blocks)
            if self.frozen_blocks == len(self.blocks):
                x = self.pool(x)
        return Activations(x, levels)

    def after_frozen(self, activations: Activations) -> Tensor:
        """Runs the blocks that are not frozen, and the head: activations → logits `[B, 10]`."""
        return self.rate(self._standardised(activations))

    def features(self, pixels: Tensor) -> Tensor:
        """Computes the head's input, pooled and standardised: RGB pixels `[B, 3, H, W]` in 0..1 → `[B, features]`."""
        return self._standardised(self.frozen(pixels))

    def rate(self, features: Tensor) -> Tensor:
        """Runs dropout and the head: features `[B, features]` → logits `[B, 10]`."""
        logits: Tensor = self.head(self.dropout(features))
        return logits

    def standardise_features(self, pixels: Iterable[Tensor], keep_predictions: bool = False) -> None:
        """Sets the mean that is subtracted from each feature, and the standard deviation by which it is divided.

        Without this, pooled features differ in size by orders of magnitude, between levels and between channels of a
        level, and no single learning rate suits them all.

        Args:
            pixels: batches, float32 `[B, 3, H, W]` in 0..1; a few dozen images are enough.
            keep_predictions: True fits the head to the new features, so that it predicts what it did before, apart from
                rounding; False leaves its parameters.
        """
        self.eval()
        with torch.no_grad():
            features = torch.cat([self._features(self.frozen(batch)) for batch in pixels])
        std = features.std(dim=0, correction=min(1, len(features) - 1))
        floors = [_smallest_std(level).expand(len(level)) for level in torch.split(std, self.level_sizes)]
        mean, std = features.mean(dim=0), torch.maximum(std, torch.cat(floors))
        if keep_predictions:
            with torch.no_grad():
                self.head.bias.add_(self.head.weight @ ((mean - self.feature_mean) / self.feature_std))
                self.head.weight.mul_(std / self.feature_std)
        self.feature_std.copy_(std)
        self.feature_mean.copy_(mean)

    def start_with_prior(self, prior: ArrayLike) -> None:
        """Sets the head's bias, so that a head with small weights predicts nearly `prior`, votes or shares `[10]`.

        Raises `DistributionError` if `prior` is not a distribution.
        """
        # A rating that nobody gave must stay possible: its probability is set to half a percent.
        p = torch.from_numpy(normalise_votes(prior)).float().clamp_min(0.005)
        with torch.no_grad():
            self.head.bias.copy_(p.log() - p.log().mean())

    def train_last(self, blocks: int) -> None:
        """Freezes all but the head and the last `blocks` blocks; -1, or more than there are, trains everything.

        Raises `ValueError` if `blocks` is below -1.
        """
        if blocks < -1:
            raise ValueError(f"the number of trained blocks must be -1 or more, not {blocks}")
        total = len(self.blocks)
        self.frozen_blocks = 0 if blocks == -1 else max(0, total - blocks)
        trained = self.trainable_parameters(blocks)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(name in trained)
        self.train(self.training)

    def trainable_parameters(self, blocks: int) -> dict[str, nn.Parameter]:
        """Returns the parameters of the head and of the last `blocks` blocks (-1: all), by name, in the model's order.

        If any block is trained, the norm that some backbones have in their pooling is trained, too.
        """
        first = 0 if blocks == -1 else max(0, len(self.blocks) - blocks)
        prefixes = tuple(f"blocks.{index}." for index in range(first, len(self.blocks)))
        if prefixes:
            prefixes += ("pool.",)
        return {n: p for n, p in self.named_parameters() if n.startswith((*prefixes, "head."))}

    def parameter_groups(self, lr_backbone: float, lr_head: float) -> list[dict[str, Any]]:
        """Returns an optimiser's groups (`params`, `lr`): the backbone's trained parameters, if any, and the head's."""
        backbone = [p for n, p in self.named_parameters() if p.requires_grad and not n.startswith("head.")]
        groups = [{"params": list(self.head.parameters()), "lr": lr_head}]
        return [{"params": backbone, "lr": lr_backbone}, *groups] if backbone else groups

    def train(self, mode: bool = True) -> Nima:
        """Sets the mode as `nn.Module.train` does, but BatchNorm and the frozen blocks stay in evaluation mode."""
        super().train(mode)
        frozen = list(self.blocks[: self.frozen_blocks])
        if self.frozen_blocks == len(self.blocks):
            frozen.append(self.pool)
        for module in frozen:
            module.eval()
        for module in self.modules():
            if isinstance(module, _BatchNorm):
                module.eval()
        return self

    def _standardised(self, activations: Activations) -> Tensor:
        return (self._features(activations) - self.feature_mean) / self.feature_std

    def _features(self, activations: Activations) -> Tensor:
        features, levels = self._run(activations.maps, self.frozen_blocks, len(self.blocks))
        if self.multi_level:
            return torch.cat(activations.levels + levels, dim=1)
        if self.frozen_blocks < len(self.blocks):
            features = self.pool(features)
        return features

    def _run(self, x: Tensor, start: int, stop: int) -> tuple[Tensor, tuple[Tensor, ...]]:
        levels = []
        for block in self.blocks[start:stop]:
            x = block(x)
            if self.multi_level:
                levels.append(self.entry.pool_level(x))
        return x, tuple(levels)

    def _measure_levels(self) -> list[int]:
        training = self.training
        self.eval()
        with torch.no_grad():
            size = self.preparation.input_size
            x = torch.zeros(1, 3, size, size)
            sizes = []
            for block in self.blocks:
                x = block(x)
                sizes.append(self.entry.pool_level(x).shape[1])
        nn.Module.train(self, training)
        return sizes


def initial_model(
    backbone: str,
    pretrained: Path | None,
    seed: int,
    prior: ArrayLike | None = None,
    multi_level: bool = False,
) -> Nima:
    """Makes a model to start training from; the same arguments give the same weights.

    Args:
        backbone: a name of `nima.model.backbones`.
        pretrained: safetensors file with pretrained weights; None for random weights.
        seed: seed of all random values.
        prior: votes or probabilities `[10]` over all training images. With it, the model first predicts the best
            constant instead of nearly equal probabilities, which saves the steps that would only learn that; None for
            nearly equal probabilities.
        multi_level: as for `Nima`.

    Raises:
        BackboneError: there is no such backbone, or the weights cannot be read or do not fit.
        DistributionError: `prior` is not a distribution.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Nima(backbone, pretrained, multi_level)
        nn.init.normal_(model.head.weight, std=0.01)
        nn.init.zeros_(model.head.bias)
    if prior is not None:
        model.start_with_prior(prior)
    return model


def _read_state(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BackboneError(f"{path} could not be read as safetensors ({error}); fetch the weights again.") from error


def _smallest_std(level: Tensor) -> Tensor:
    """Returns the smallest divisor for the channels of a level, from the deviations of all its channels `[channels]`.

    A channel that is nearly constant in the sample must not become the largest of its level in other images, and in a
    sample of very few images most channels may be nearly constant.
    """
    typical = level.square().mean().sqrt()
    if typical == 0:
        return torch.ones_like(typical)
    return torch.maximum(0.1 * level.median(), 0.01 * typical)

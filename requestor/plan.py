"""How each client trains in a round."""

from __future__ import annotations

from nima.jobs import TrainingPlan

BATCH = 32  # images a step
EPOCHS = 10  # over a client's images in one round; on features that are computed once, they cost next to nothing
MOST_STEPS = 2000  # a round of a large client must still end


def plan_for(images: int, seed: int) -> TrainingPlan:
    """The plan of a client with so many images: the head on frozen multi-level features.

    What this costs and reaches beside fine-tuning is measured on tiny-AVA; see README, "How it works".
    """
    steps = min(MOST_STEPS, max(10, EPOCHS * images // BATCH))
    return TrainingPlan(
        steps=steps, batch_size=BATCH, lr_backbone=0.005, lr_head=0.005, momentum=0.9, weight_decay=1e-4,
        trainable_blocks=0, seed=seed, augment=False, dropout=0.5,
    )  # fmt: skip

#!/usr/bin/env python3
"""Makes class_losses.json: values and gradients of nnU-Net's own losses of several classes and of regions.

    class_losses.py > class_losses.json

Needs nnunetv2 2.8.1 and PyTorch. Logits are kept to three digits, so that both sides read the same.
"""
import json

import numpy as np
import torch
from nnunetv2.training.loss.compound_losses import DC_and_BCE_loss, DC_and_CE_loss
from nnunetv2.training.loss.dice import MemoryEfficientSoftDiceLoss

IGNORE = -1
random = np.random.default_rng(30)
SHAPE = (2, 3, 4)


def logits_of(channels):
    return np.round(random.normal(size=(2, channels) + SHAPE) * 2, 3)


def labels_of(case, most):
    labels = random.integers(0, most + 1, size=(2,) + SHAPE)
    if case == "missing":
        labels[labels == most] = 0
    if case == "empty":
        labels[:] = 0
    if case == "ignored":
        labels[random.random(labels.shape) < 0.3] = IGNORE
    if case == "unknown":
        labels[:] = IGNORE
    return labels


def entry(case, z, labels, value_of, **more):
    z_torch = torch.tensor(z, dtype=torch.float64, requires_grad=True)
    value = value_of(z_torch)
    value.backward()
    return {
        "case": case,
        "logits": [float(v) for v in z.flatten()],
        "labels": [int(v) for v in labels.flatten()],
        "value": float(value.detach()),
        "gradient": [float(f"{g:.7g}") for g in z_torch.grad.flatten()],
        **more,
    }


def classes(case, channels):
    z, labels = logits_of(channels), labels_of(case, channels - 1)
    ignoring = case in ("ignored", "unknown")
    loss = DC_and_CE_loss(
        {"batch_dice": True, "smooth": 1e-5, "do_bg": False, "ddp": False},
        {},
        weight_ce=1,
        weight_dice=1,
        ignore_label=channels if ignoring else None,
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    target = np.where(labels == IGNORE, channels, labels)[:, None]
    return entry(case, z, labels, lambda z: loss(z, torch.tensor(target)), channels=channels)


def regions(case, members):
    z, labels = logits_of(len(members)), labels_of(case, 3)
    ignoring = case in ("ignored", "unknown")
    loss = DC_and_BCE_loss(
        {},
        {"batch_dice": True, "do_bg": True, "smooth": 1e-5, "ddp": False},
        use_ignore_label=ignoring,
        dice_class=MemoryEfficientSoftDiceLoss,
    )
    target = np.stack([np.isin(labels, of) for of in members], axis=1).astype(np.float64)
    known = labels != IGNORE
    if ignoring:
        target = np.concatenate([target, ~known[:, None]], axis=1)

    def value_of(z):
        value = loss(z, torch.tensor(target))
        if not ignoring:
            return value
        # With an ignore label, nnU-Net divides the sum over all channels by the voxels alone: without one by both.
        dice = loss.dc(z, torch.tensor(target[:, :-1]), loss_mask=torch.tensor(target[:, -1:] == 0))
        return dice + (value - dice) / len(members)

    return entry(case, z, labels, value_of, regions=members)


CASES = ("plain", "missing", "empty", "ignored", "unknown")
entries = [classes(case, channels) for case in CASES for channels in (2, 3, 5)]
entries += [regions(case, members) for case in CASES for members in ([[1, 2, 3], [2, 3], [3]], [[1], [1, 2]])]
print(json.dumps({"shape": SHAPE, "ignored": IGNORE, "losses": entries}, separators=(",", ":")))

#!/usr/bin/env python3
"""Makes voxel_losses.json: values and gradients of MONAI's and nnU-Net's own losses of one class, by the names that they have here.

    voxel_losses.py > voxel_losses.json

Needs MONAI 1.6.1, nnunetv2 2.8.1 and PyTorch. Logits are kept to three digits, so that both sides read the same.
"""
import json

import numpy as np
import torch
from monai.losses import AsymmetricUnifiedFocalLoss, DiceLoss, FocalLoss, TverskyLoss
from nnunetv2.training.loss.robust_ce_loss import TopKLoss

random = np.random.default_rng(12)
shape = (3, 1, 3, 4, 5)
target = (random.random(shape) < 0.2).astype(np.float64)
target[1] = 0  # a patch without lesion
logits = np.round(random.normal(size=shape) * 2, 3)
truth = torch.tensor(target)
SMOOTH = {"sigmoid": True, "batch": True, "smooth_nr": 1e-5, "smooth_dr": 1e-5}


def entry(value_of):
    z = torch.tensor(logits, requires_grad=True)
    value = value_of(z)
    value.backward()
    return {"value": float(value.detach()), "gradient": [float(f"{g:.9g}") for g in z.grad.flatten()]}


def tversky(over, under):
    return TverskyLoss(alpha=over, beta=under, **SMOOTH)


# MONAI's takes probabilities where there is one channel, whatever its docstring says.
def unified(share, delta, gamma):
    loss = AsymmetricUnifiedFocalLoss(weight=share, delta=delta, gamma=gamma)
    return lambda z: loss(torch.sigmoid(z), truth)


def top_k(percent):
    loss = TopKLoss(k=percent)
    # By a softmax of z and 0.
    return lambda z: loss(torch.cat([torch.zeros_like(z), z], dim=1), truth)


print(json.dumps({
    "shape": shape,
    "connectivity": 6,
    "lesion": [int(v) for v in np.flatnonzero(target)],
    "logits": [float(z) for z in logits.flatten()],
    "terms": {
        "dice": entry(lambda z: DiceLoss(**SMOOTH)(z, truth)),
        "tversky": entry(lambda z: tversky(0.3, 0.7)(z, truth)),
        "tversky(0.2, 0.9)": entry(lambda z: tversky(0.2, 0.9)(z, truth)),
        # MONAI has no power of it.
        "focal_tversky": entry(lambda z: tversky(0.3, 0.7)(z, truth) ** 0.75),
        "focal_tversky(0.4, 0.6, 2)": entry(lambda z: tversky(0.4, 0.6)(z, truth) ** 0.5),
        "fl": entry(lambda z: FocalLoss(gamma=2, alpha=0.75)(z, truth)),
        "topk": entry(top_k(10)),
        "topk(35)": entry(top_k(35)),
        "unified_focal": entry(unified(0.5, 0.6, 0.5)),
        "unified_focal(0.3, 0.7, 0.2)": entry(unified(0.3, 0.7, 0.2)),
    },
}))

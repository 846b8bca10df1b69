#!/usr/bin/env python3
"""Makes lesion_terms.json: values and gradients by the authors' own code, which is given and no part of this project.

    lesion_terms.py blob_loss.py nnUNetTrainerCAT.py nnUNetTrainerMIL.py > lesion_terms.json

blob_loss.py: github.com/neuronflow/blob_loss; the others: github.com/luumsk/SmallLesionMRI, slsseg/nnunetv2/training/
nnUNetTrainer. Needs PyTorch alone: nnU-Net is stood in for, and SciPy's labelling by a flood fill over faces.
"""
import importlib.util
import json
import sys
import types

import numpy as np
import torch


def label(mask, structure=None):
    labels, count = np.zeros(mask.shape, np.int32), 0
    for first in np.argwhere(mask):
        if labels[tuple(first)]:
            continue
        count += 1
        front = [tuple(first)]
        labels[tuple(first)] = count
        while front:
            at = front.pop()
            for axis in range(mask.ndim):
                for step in (-1, 1):
                    to = list(at)
                    to[axis] += step
                    to = tuple(to)
                    if 0 <= to[axis] < mask.shape[axis] and mask[to] and not labels[to]:
                        labels[to] = count
                        front.append(to)
    return labels, count


def stand_in(name, **members):
    module = types.ModuleType(name)
    module.__dict__.update(members)
    sys.modules[name] = module
    return module


ndimage = stand_in("scipy.ndimage", label=label, generate_binary_structure=lambda rank, steps: steps)
stand_in("scipy", ndimage=ndimage)
for package in ("nnunetv2", "nnunetv2.training", "nnunetv2.training.nnUNetTrainer"):
    stand_in(package)
stand_in("nnunetv2.training.nnUNetTrainer.nnUNetTrainer", nnUNetTrainer=object)


def load(path, name):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def dice(p, target):
    return 1 - (2 * (p * target).sum() + 1e-5) / (p.sum() + target.sum() + 1e-5)


blob_loss, cat, mil = (load(path, name) for path, name in zip(sys.argv[1:], ("blob", "cat", "mil")))
random = np.random.default_rng(7)
shape = (2, 1, 4, 4, 5)
target = (random.random(shape) < 0.15).astype(np.int64)
target[1, 0, 3, 3, 2:] = 1
logits = np.round(random.normal(size=shape) * 2, 3).astype(np.float32)
instances = torch.from_numpy(np.stack([label(of[0])[0] for of in target])[:, None].astype(np.int64))
truth = torch.from_numpy(target)


def entry(value_of, differentiable=True):
    z = torch.tensor(logits.astype(np.float64), requires_grad=True)
    value = value_of(z)
    result = {"value": float(value)}
    if differentiable:
        value.backward()
        result["gradient"] = [float(f"{g:.9g}") for g in z.grad.flatten()]
    return result


print(json.dumps({
    "shape": shape,
    "connectivity": 6,
    "lesion": [int(v) for v in np.flatnonzero(target)],
    "logits": [float(f"{z:.4g}") for z in logits.flatten()],
    "terms": {
        "cat": entry(lambda z: cat.ComponentAdaptiveTverskyLoss(w_bg=0.01)(z, truth)),
        "mil": entry(lambda z: mil.SmallLesionMILLoss()(z, truth), differentiable=False),
        "blob(dice)": entry(lambda z: blob_loss.compute_blob_loss_multi(dice, torch.sigmoid(z), instances)),
    },
}))

#!/usr/bin/env python3
"""Makes instance_term.json: ici's value and gradient by the authors' own code, which is given and no part of this project.

    instance_term.py ICI-loss/losses > instance_term.json

github.com/BrainImageAnalysis/ICI-loss, the folder with ICI_loss.py and tools.py. Needs PyTorch and MONAI; NIfTI files are
not read. Fails if their center-of-instance part has a gradient: docs/losses.md says that it has none.
"""
import importlib
import json
import sys
import types

import numpy as np
import torch
from monai.losses import DiceLoss

sys.modules.setdefault("nibabel", types.ModuleType("nibabel"))
package = types.ModuleType("authors")
package.__path__ = [sys.argv[1]]
sys.modules["authors"] = package
ICILoss = importlib.import_module("authors.ICI_loss").ICILoss

random = np.random.default_rng(11)
shape = (3, 1, 6, 7, 9)
target = np.zeros(shape, np.int64)
logits = random.normal(size=shape) * 1.5 - 2
# Lesions and detections that meet in all ways: one with one, several with one, one with several, and neither.
for n, boxes, detections in (
    (0, [(0, 2, 0, 3, 1, 4), (4, 6, 4, 7, 0, 2), (0, 1, 6, 7, 8, 9), (3, 4, 3, 4, 5, 6)],
     [(0, 2, 1, 4, 2, 6), (4, 5, 4, 7, 0, 1), (5, 6, 0, 2, 6, 9)]),
    (1, [(0, 6, 2, 5, 2, 7)], [(0, 2, 1, 3, 2, 4), (4, 6, 3, 6, 5, 9)]),
    (2, [], [(1, 3, 1, 3, 1, 3)]),
):
    for a, b, c, d, e, f in boxes:
        target[n, 0, a:b, c:d, e:f] = 1
    for a, b, c, d, e, f in detections:
        logits[n, 0, a:b, c:d, e:f] += 3.5
logits = np.round(logits, 3).astype(np.float32)

dice = DiceLoss()
ici = ICILoss(dice, dice, dice, activation="none", max_cc_out=0, mul_too_many=1000)
z = torch.tensor(logits.astype(np.float64), requires_grad=True)
_, instance, center, *_ = ici(torch.sigmoid(z), torch.tensor(target, dtype=torch.float64))
(of_center,) = torch.autograd.grad(center, z, retain_graph=True)
assert of_center.abs().max() == 0, "the center-of-instance part has a gradient"
instance.backward()
print(json.dumps({
    "shape": shape,
    "lesion": [int(v) for v in np.flatnonzero(target)],
    "logits": [float(f"{v:.4g}") for v in logits.flatten()],
    "value": instance.item(),
    "gradient": [float(f"{g:.9g}") for g in z.grad.flatten()],
}))

#!/usr/bin/env python3
"""Writes tests/golden/deep_supervision.safetensors: loss and gradients of nnU-Net's PlainConvUNet with its heads at several
resolutions, by nnU-Net's own wrapper of losses and its own subsampled targets, with weights, logits and
targets of each resolution.

    tests/models/deep_supervision_golden.py tests/golden     (PyTorch, nnunetv2 2.8 and its network architectures installed)
"""
import json
import struct
import sys
from pathlib import Path

import numpy as np
import torch
from batchgeneratorsv2.transforms.utils.deep_supervision_downsampling import DownsampleSegForDSTransform
from dynamic_network_architectures.architectures.unet import PlainConvUNet
from nnunetv2.training.loss.deep_supervision import DeepSupervisionWrapper

STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 1]]


def main(out):
    torch.manual_seed(5)
    torch.set_num_threads(1)
    network = PlainConvUNet(1, 4, [2, 3, 3, 4], torch.nn.Conv3d, 3, STRIDES, 1, 1, 1, conv_bias=True,
                            norm_op=torch.nn.InstanceNorm3d, norm_op_kwargs={"eps": 1e-5, "affine": True},
                            nonlin=torch.nn.LeakyReLU, nonlin_kwargs={"negative_slope": 0.01}, deep_supervision=True)
    state = {k: v for k, v in network.state_dict().items() if ".all_modules." not in k and "decoder.encoder" not in k}
    image = torch.randn(2, 1, 8, 16, 12)
    target = (torch.nn.functional.avg_pool3d(torch.randn_like(image), 3, 1, 1) > 0.1).float()
    scales = 1 / np.cumprod(np.vstack(STRIDES), axis=0)[:-1]
    targets = [torch.stack(level) for level in zip(*[DownsampleSegForDSTransform([list(s) for s in scales])
                                                     ._apply_to_segmentation(t) for t in target])]
    weights = np.array([1 / 2 ** i for i in range(len(scales))])
    weights[-1] = 0
    loss = DeepSupervisionWrapper(torch.nn.BCEWithLogitsLoss(), weights / weights.sum())
    arrays = {"image": image, "target": target}
    arrays.update({"before." + k: v.clone() for k, v in state.items()})
    logits = network(image)
    value = loss(logits, targets)
    value.backward()
    arrays.update({f"logits.{i}": x for i, x in enumerate(logits)})
    arrays.update({f"target.{i}": x for i, x in enumerate(targets)})
    arrays["loss"] = value.reshape(1)
    gradients = dict(network.named_parameters())
    for name, parameter in state.items():
        gradient = gradients[name].grad
        arrays["gradient." + name] = torch.zeros_like(parameter) if gradient is None else gradient
    header, data = {}, b""
    for key, array in arrays.items():
        array = np.ascontiguousarray(array.detach().numpy())
        header[key] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (out / "deep_supervision.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

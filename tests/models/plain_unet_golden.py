#!/usr/bin/env python3
"""Writes tests/golden/plain_unet.safetensors: a small plain U-Net of PyTorch's modules, named as nnU-Net names them,
before and after three steps of SGD on the binary cross-entropy, with logits and gradients of the first.

    tests/models/plain_unet_golden.py tests/golden/plain_unet.safetensors        (PyTorch and NumPy installed)
"""
import json
import struct
import sys

import numpy
import torch
from torch import nn

WIDTHS, STRIDES, KERNELS = (3, 5, 6), ((1, 1, 1), (1, 2, 2), (2, 2, 2)), ((1, 3, 3), (3, 3, 3), (3, 3, 3))


class Conv(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, [(k - 1) // 2 for k in kernel])
        self.norm = nn.InstanceNorm3d(outputs, eps=1e-5, affine=True)

    def forward(self, x):
        return nn.functional.leaky_relu(self.norm(self.conv(x)), 0.01)


class Stage(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__()
        self.convs = nn.Sequential(Conv(inputs, outputs, kernel, stride), Conv(outputs, outputs, kernel, (1, 1, 1)))

    def forward(self, x):
        return self.convs(x)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        inputs = (2,) + WIDTHS[:-1]
        self.stages = nn.Sequential(*[nn.Sequential(Stage(*s)) for s in zip(inputs, WIDTHS, KERNELS, STRIDES)])


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        levels = range(len(WIDTHS) - 2, -1, -1)
        self.transpconvs = nn.ModuleList(
            [nn.ConvTranspose3d(WIDTHS[i + 1], WIDTHS[i], STRIDES[i + 1], STRIDES[i + 1]) for i in levels])
        self.stages = nn.ModuleList([Stage(2 * WIDTHS[i], WIDTHS[i], KERNELS[i], (1, 1, 1)) for i in levels])
        self.seg_layers = nn.ModuleList([nn.Conv3d(WIDTHS[i], 1, 1) for i in levels])


class PlainUnet(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.decoder = Encoder(), Decoder()

    def forward(self, x):
        levels = []
        for stage in self.encoder.stages:
            x = stage(x)
            levels.append(x)
        for step, (up, stage) in enumerate(zip(self.decoder.transpconvs, self.decoder.stages)):
            x = stage(torch.cat([up(x), levels[-2 - step]], 1))
        return self.decoder.seg_layers[-1](x)


def write(path, arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        array = numpy.ascontiguousarray(array, dtype="<f4")
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    torch.manual_seed(20)
    torch.set_num_threads(1)
    network = PlainUnet()
    for name, parameter in network.named_parameters():  # norms that do something
        if ".norm." in name:
            nn.init.normal_(parameter, 1.0 if name.endswith("weight") else 0.0, 0.3)
    image, target = torch.randn(2, 2, 4, 8, 12), (torch.rand(2, 1, 4, 8, 12) < 0.3).float()
    arrays = {"image": image, "target": target}
    used = lambda: {n: p for n, p in network.named_parameters() if not n.startswith("decoder.seg_layers.0.")}
    arrays.update({"before." + n: p.detach().clone() for n, p in used().items()})
    optimizer = torch.optim.SGD(used().values(), lr=0.1, momentum=0.9, nesterov=True)
    for step in range(3):
        optimizer.zero_grad()
        logits = network(image)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, target)
        loss.backward()
        if step == 0:
            arrays["logits"] = logits.detach().clone()
            arrays.update({"gradient." + n: p.grad.clone() for n, p in used().items()})
        optimizer.step()
    arrays.update({"after." + n: p.detach() for n, p in used().items()})
    write(sys.argv[1], {name: tensor.numpy() for name, tensor in arrays.items()})


main()

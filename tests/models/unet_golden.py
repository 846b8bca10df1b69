#!/usr/bin/env python3
"""Writes tests/golden/NETWORK.safetensors: a small U-Net of PyTorch's modules, named as nnU-Net names them, or MONAI's
BasicUNet, before and after three steps of SGD on the binary cross-entropy, with logits and gradients of the first.

    tests/models/unet_golden.py plain_unet|residual_encoder_unet tests/golden      (PyTorch and NumPy installed)
    tests/models/unet_golden.py basic_unet tests/golden                            (and MONAI 1.6)
"""
import json
import struct
import sys

import numpy
import torch
from torch import nn

STRIDES, KERNELS = ((1, 1, 1), (1, 2, 2), (2, 2, 2)), ((1, 3, 3), (3, 3, 3), (3, 3, 3))


class Conv(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride, [(k - 1) // 2 for k in kernel])
        self.norm = nn.InstanceNorm3d(outputs, eps=1e-5, affine=True)

    def forward(self, x):
        return nn.functional.leaky_relu(self.norm(self.conv(x)), 0.01)


class Stage(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, convs=2):
        super().__init__()
        more = [Conv(outputs, outputs, kernel, (1, 1, 1)) for _ in range(convs - 1)]
        self.convs = nn.Sequential(Conv(inputs, outputs, kernel, stride), *more)

    def forward(self, x):
        return self.convs(x)


class PlainEncoder(nn.Module):
    def __init__(self, widths):
        super().__init__()
        inputs = (2,) + widths[:-1]
        self.stages = nn.Sequential(*[nn.Sequential(Stage(*s)) for s in zip(inputs, widths, KERNELS, STRIDES)])

    def forward(self, x):
        return x


class NoActivation(Conv):
    def forward(self, x):
        return self.norm(self.conv(x))


class Projection(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 1, bias=False)
        self.norm = nn.InstanceNorm3d(outputs, eps=1e-5, affine=True)

    def forward(self, x):
        return self.norm(self.conv(x))


class Block(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride):
        super().__init__()
        self.conv1 = Conv(inputs, outputs, kernel, stride)
        self.conv2 = NoActivation(outputs, outputs, kernel, (1, 1, 1))
        skip = [nn.AvgPool3d(stride, stride)] if stride != (1, 1, 1) else []
        self.skip = nn.Sequential(*skip, *([Projection(inputs, outputs)] if inputs != outputs else []))

    def forward(self, x):
        return nn.functional.leaky_relu(self.conv2(self.conv1(x)) + self.skip(x), 0.01)


class Blocks(nn.Module):
    def __init__(self, inputs, outputs, kernel, stride, count):
        super().__init__()
        more = [Block(outputs, outputs, kernel, (1, 1, 1)) for _ in range(count - 1)]
        self.blocks = nn.Sequential(Block(inputs, outputs, kernel, stride), *more)

    def forward(self, x):
        return self.blocks(x)


class ResidualEncoder(nn.Module):
    def __init__(self, widths, blocks, kernels=KERNELS, strides=STRIDES):
        super().__init__()
        self.stem = Stage(2, widths[0], kernels[0], (1, 1, 1), 1)
        inputs = widths[:1] + widths[:-1]
        self.stages = nn.Sequential(*[Blocks(*s) for s in zip(inputs, widths, kernels, strides, blocks)])

    def forward(self, x):
        return self.stem(x)


class Decoder(nn.Module):
    def __init__(self, widths, convs, outputs=1, kernels=KERNELS, strides=STRIDES):
        super().__init__()
        levels = range(len(widths) - 2, -1, -1)
        self.transpconvs = nn.ModuleList(
            [nn.ConvTranspose3d(widths[i + 1], widths[i], strides[i + 1], strides[i + 1]) for i in levels])
        self.stages = nn.ModuleList([Stage(2 * widths[i], widths[i], kernels[i], (1, 1, 1), convs) for i in levels])
        self.seg_layers = nn.ModuleList([nn.Conv3d(widths[i], outputs, 1) for i in levels])


class Unet(nn.Module):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder, self.decoder = encoder, decoder

    def forward(self, x):
        levels = []
        x = self.encoder(x)
        for stage in self.encoder.stages:
            x = stage(x)
            levels.append(x)
        for step, (up, stage) in enumerate(zip(self.decoder.transpconvs, self.decoder.stages)):
            x = stage(torch.cat([up(x), levels[-2 - step]], 1))
        return self.decoder.seg_layers[-1](x)


def basic_unet():
    from monai.networks.nets import BasicUNet
    return BasicUNet(3, 1, 1, features=(2, 3, 2, 2, 3, 2))


NETWORKS = {
    "plain_unet": lambda: Unet(PlainEncoder((3, 5, 6)), Decoder((3, 5, 6), 2)),
    "residual_encoder_unet": lambda: Unet(ResidualEncoder((3, 5, 5), (1, 2, 2)), Decoder((3, 5, 5), 1)),
    "basic_unet": basic_unet,
}
SHAPES = {"basic_unet": (1, 1, 16, 16, 48)}  # of the image; its sides are halved four times
TYPES = {"float32": "F32", "float16": "F16", "uint8": "U8"}


def write(path, arrays):
    header, data = {}, b""
    for name, array in arrays.items():
        array = numpy.ascontiguousarray(array)
        header[name] = {"dtype": TYPES[str(array.dtype)], "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def main():
    torch.manual_seed(20)
    torch.set_num_threads(1)
    network = NETWORKS[sys.argv[1]]()
    for name, parameter in network.named_parameters():  # norms that do something
        if ".norm." in name or ".adn.N." in name:
            nn.init.normal_(parameter, 1.0 if name.endswith("weight") else 0.0, 0.3)
    shape = SHAPES.get(sys.argv[1], (2, 2, 4, 8, 12))
    image, target = torch.randn(shape), (torch.rand(shape[0], 1, *shape[2:]) < 0.3).float()
    arrays = {"image": image, "target": target}
    if sys.argv[1] in SHAPES:  # a larger image is kept in fewer bytes
        arrays = {"image": image.half(), "target": target.byte()}
        image = arrays["image"].float()
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
    write(f"{sys.argv[2]}/{sys.argv[1]}.safetensors", {name: tensor.numpy() for name, tensor in arrays.items()})


if __name__ == "__main__":
    main()

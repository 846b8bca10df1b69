#!/usr/bin/env python3
"""Writes tests/golden/monai/: small networks of MONAI's own with random weights, as torch.save leaves their state_dict
(NAME.pt), and logits.safetensors with an image and what each makes of it.
    tests/import/monai_golden.py tests/golden/monai                 (PyTorch and MONAI 1.6 installed)
"""
import json
import struct
import sys
from pathlib import Path

import torch
from monai.networks.nets import SegResNet, UNet


def networks():
    yield "unet", UNet(3, 1, 1, (2, 3, 4), (2, 2), num_res_units=2)
    yield "unet_batch", UNet(3, 1, 2, (2, 3, 2), ((2, 2, 1), 2), kernel_size=(3, 3, 1), num_res_units=0, act="RELU",
                             norm="BATCH")
    group = {"init_filters": 2, "out_channels": 1, "norm": ("GROUP", {"num_groups": 2})}
    yield "segresnet", SegResNet(blocks_down=(1, 2), blocks_up=(1,), **group)
    yield "segresnet_deconv", SegResNet(blocks_down=(1, 1), blocks_up=(1,), upsample_mode="deconv", **group)
    yield "unet_group", UNet(3, 1, 1, (2, 4), (1,), num_res_units=0, norm=("GROUP", {"num_groups": 2}),
                             act=("LEAKYRELU", {"negative_slope": 0.1}))
    yield "unet_affine", UNet(3, 1, 1, (2, 3), (2,), num_res_units=1, norm=("INSTANCE", {"affine": True}))


def main(out):
    torch.manual_seed(20261130)
    out.mkdir(exist_ok=True)
    image = torch.randn(1, 1, 16, 8, 4)
    arrays = {"image": image}
    for name, network in networks():
        for key, value in network.state_dict().items():
            if value.is_floating_point():
                value.add_(torch.rand_like(value) * 0.2)  # no norm is left as it begins
        network.eval()
        with torch.no_grad():
            arrays[name] = network(image)
        torch.save({"state_dict": {"net." + k: v for k, v in network.state_dict().items()}, "epoch": 3}
                   if name == "unet" else network.state_dict(), out / f"{name}.pt")
    header, data = {}, b""
    for key, array in arrays.items():
        array = array.contiguous().numpy()
        header[key] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (out / "logits.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""Weights go from PyTorch to iwseg and back: the same file, the same logits.

    tests/models/pytorch_round_trip.py build/release/bin/iwseg ../shared/reference/unet_torch.py

Not part of the ordinary tests, which need no Python. Needs torch, safetensors, nibabel and numpy.
"""
import importlib.util
import pathlib
import subprocess
import sys
import tempfile

import nibabel
import numpy
import torch
from safetensors.torch import load_file, save_file

WIDTHS, CHANNELS, SIDE = (4, 6, 8, 10), 2, 32


def logits_by_iwseg(iwseg, folder, weights, image):
    files = []
    for channel, volume in enumerate(image):
        files.append(str(folder / f"scan_{channel:04}.nii.gz"))
        nibabel.save(nibabel.Nifti1Image(volume, numpy.eye(4)), files[-1])
    out = folder / weights.stem
    subprocess.run([iwseg, "predict", "--weights", str(weights), "--input", *files, "--out", str(out), "--save", "logit",
                    "--patch", str(SIDE), "--stride", str(SIDE)], check=True, stdout=subprocess.DEVNULL)
    return nibabel.load(next(out.glob("*_logit.nii.gz"))).get_fdata()


def logits_by_pytorch(oracle, state, image):
    network = oracle.unet(CHANNELS, 1, WIDTHS)
    network.load_state_dict(state)  # strict: every name and shape
    with torch.no_grad():
        return network.eval()(torch.from_numpy(image)[None])[0, 0].numpy()


def compare(what, ours, theirs):
    difference = abs(ours - theirs).max() / abs(theirs).max()
    print(f"{what}: logits differ by {difference:.1e} of the largest")
    assert difference < 1e-4, what


def main(iwseg, oracle_file):
    spec = importlib.util.spec_from_file_location("oracle", oracle_file)
    oracle = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(oracle)
    image = torch.randn(CHANNELS, SIDE, SIDE, SIDE).numpy()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        network = oracle.unet(CHANNELS, 1, WIDTHS).train()
        for _ in range(3):  # running statistics that are not the initial ones
            network(torch.randn(2, CHANNELS, 16, 16, 16) * 2 + 1)
        save_file(network.state_dict(), folder / "pytorch.safetensors")
        compare("PyTorch's file in iwseg", logits_by_iwseg(iwseg, folder, folder / "pytorch.safetensors", image),
                logits_by_pytorch(oracle, network.state_dict(), image))
        subprocess.run([iwseg, "phantom", "--out", str(folder / "data"), "--cases", "3", "--size", "48"], check=True,
                       stdout=subprocess.DEVNULL)
        for case in (folder / "data/imagesTr").glob("*_0000.nii.gz"):  # a second channel
            pathlib.Path(str(case).replace("_0000", "_0001")).write_bytes(case.read_bytes())
        description = folder / "data/dataset.json"
        text = description.read_text().replace('"0"', '"1": "again", "0"')
        description.write_text(text)
        subprocess.run([iwseg, "train", "--data", str(folder / "data"), "--out", str(folder / "run"), "--set",
                        f"widths={list(WIDTHS)}", "--set", "patch=32", "--set", "epochs=1", "--set", "steps_per_epoch=4",
                        "--set", "intensity=none"], check=True, stdout=subprocess.DEVNULL)
        compare("iwseg's file in PyTorch", logits_by_iwseg(iwseg, folder, folder / "run/model.safetensors", image),
                logits_by_pytorch(oracle, load_file(folder / "run/model.safetensors"), image))


if __name__ == "__main__":
    main(*sys.argv[1:])

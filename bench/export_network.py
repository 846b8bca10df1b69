"""Exports the default network as the oracle has it, with weights drawn from seed 0, as ONNX, for runtimes that read that.

    bench/export_network.py --oracle ../shared/reference/unet_torch.py --patch 96 --out unet.onnx

Needs PyTorch and the package onnx; prints {"missing": NAME} where a package is not installed, else {}.
"""
import argparse
import contextlib
import json
import pathlib
import sys
import warnings


def network(oracle, widths):
    sys.path.insert(0, str(pathlib.Path(oracle).parent))
    import torch
    import unet_torch
    torch.manual_seed(0)
    return unet_torch.unet(widths=tuple(widths)).eval()


def export(oracle, patch, widths, file):
    import onnx  # noqa: F401 - else PyTorch says in its own way, or not at all, that it is not there
    import torch
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter that needs no further package
        torch.onnx.export(network(oracle, widths), torch.zeros(1, 1, patch, patch, patch), file, dynamo=False,
                          input_names=["image"], output_names=["logit"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--oracle", required=True, help="unet_torch.py")
    parser.add_argument("--patch", type=int, default=96)
    parser.add_argument("--widths", type=int, nargs=4, default=(16, 64, 128, 256))
    parser.add_argument("--out", required=True)
    options = parser.parse_args()
    result = {}
    try:
        with contextlib.redirect_stdout(sys.stderr):  # what the exporter has to say
            export(options.oracle, options.patch, options.widths, options.out)
    except ModuleNotFoundError as missing:
        result = {"missing": missing.name}
    print(json.dumps(result))


if __name__ == "__main__":
    main()

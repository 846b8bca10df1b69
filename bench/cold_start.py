"""From the start of a process to its first prediction, one patch of 48^3, by iwseg and by libraries that predict too.

    bench/cold_start.py --iwseg build/examples/installed --shared ../shared --out bench/results/cold_start.json

One network for all: the residual U-Net of widths 8, 16, 32, 64, made by PyTorch and given to each library as that likes it:
safetensors, TorchScript, ONNX, OpenVINO's IR. Processes take turns; the time is from their start until they have
printed the sum of the probabilities, all of which must agree. Then their libraries are counted, glibc's left out.
Needs torch, onnx, onnxruntime, openvino and numpy in the Python that runs it, cc, c++ and pkg-config.
PyTorch of PyPI has parts for GPUs, which `import torch` loads; --more-python adds one that has none.
"""
import argparse
import importlib.metadata
import json
import os
import pathlib
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SIDE, WIDTHS = 48, (8, 16, 32, 64)
GLIBC = ("ld-linux", "libc.so", "libm.so", "libdl.so", "librt.so", "libpthread.so", "libutil.so")
CUDA_PARTS = ("cuda", "nvshmem", "nvrtc", "cudnn", "nvidia")


# ---- Processes that are timed: print the sum of probabilities, then wait

def patch(folder):
    import numpy
    return numpy.fromfile(folder / "patch.f32", "<f4").reshape(1, 1, SIDE, SIDE, SIDE)


def by_torch(folder):
    import torch
    network = torch.jit.load(str(folder / f"network_{torch.__version__}.pt"))
    with torch.inference_mode():
        return float(torch.sigmoid(network(torch.from_numpy(patch(folder)))).sum())


def by_onnxruntime(folder):
    import onnxruntime
    session = onnxruntime.InferenceSession(folder / "network.onnx", providers=["CPUExecutionProvider"])
    return float(session.run(None, {"image": patch(folder)})[0].sum())


def by_openvino(folder):
    import openvino
    network = openvino.Core().compile_model(folder / "network.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return float(network(patch(folder))[0].sum())


def by_ctypes(folder):
    import ctypes
    iwseg = ctypes.CDLL(os.environ["LIBIWSEG"])
    model, voxels = ctypes.c_void_p(), SIDE ** 3
    image, probability = (ctypes.c_float * voxels)(), (ctypes.c_float * voxels)()
    with open(folder / "patch.f32", "rb") as file:
        file.readinto(image)
    if iwseg.iwseg_open(str(folder / "network.safetensors").encode(), b"cpu", 0, ctypes.byref(model)) or \
            iwseg.iwseg_predict(model, image, (ctypes.c_int64 * 3)(SIDE, SIDE, SIDE), None, probability, None):
        iwseg.iwseg_last_error.restype = ctypes.c_char_p
        sys.exit(iwseg.iwseg_last_error().decode())
    return sum(probability)


def import_numpy(folder):
    return float(patch(folder).sum())


CHILDREN = {"torch": by_torch, "onnxruntime": by_onnxruntime, "openvino": by_openvino, "ctypes": by_ctypes,
            "numpy": import_numpy}


# ---- What they read

def write_safetensors(file, tensors, metadata):
    header, place = {"__metadata__": metadata}, 0
    for name, values in tensors.items():
        kind = "I64" if values.dtype == "int64" else "F32"
        header[name] = {"dtype": kind, "shape": list(values.shape), "data_offsets": [place, place + values.nbytes]}
        place += values.nbytes
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(values.tobytes() for values in tensors.values()))


def oracle(shared):
    import torch
    sys.path.insert(0, str(shared / "reference"))
    import unet_torch
    return torch, unet_torch.unet(1, 1, WIDTHS).eval()


def trace(folder, shared):
    """Writes TorchScript of this Python's PyTorch, with the weights that are there already; returns its version."""
    import numpy
    torch, network = oracle(shared)
    network.load_state_dict({n: torch.from_numpy(v) for n, v in numpy.load(folder / "state.npz").items()})
    torch.jit.trace(network, torch.zeros(1, 1, SIDE, SIDE, SIDE)).save(str(folder / f"network_{torch.__version__}.pt"))
    return torch.__version__


def make_files(folder, shared):
    import numpy
    import openvino
    torch, network = oracle(shared)
    image = torch.randn(1, 1, SIDE, SIDE, SIDE)
    (folder / "patch.f32").write_bytes(image.numpy().astype("<f4").tobytes())
    prediction = {"intensity": "none", "nan": None, "mask_channel": "", "patch": SIDE, "stride": SIDE,
                  "precision": "fp32", "tf32": False}
    state = {name: numpy.ascontiguousarray(tensor.numpy()) for name, tensor in network.state_dict().items()}
    write_safetensors(folder / "network.safetensors", state, {"prediction": json.dumps(prediction)})
    numpy.savez(folder / "state.npz", **state)
    os.link(folder / f"network_{trace(folder, shared)}.pt", folder / "network.pt")
    torch.onnx.export(torch.nn.Sequential(network, torch.nn.Sigmoid()), (image,), folder / "network.onnx",
                      input_names=["image"], output_names=["probability"], dynamo=False)
    openvino.save_model(openvino.convert_model(folder / "network.onnx"), folder / "network.xml", compress_to_fp16=False)


def build(command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{command[0]} failed: {done.stderr}")


def programs(folder, iwseg, more, shared):
    """Commands of what is timed, by name. more: another Python with a PyTorch of its own, or none."""
    import torch
    found = next(iwseg.glob("lib*/**/pkgconfig"))
    flags = subprocess.run(["pkg-config", "--cflags", "--libs", "iwseg"], capture_output=True, text=True, check=True,
                           env=os.environ | {"PKG_CONFIG_PATH": str(found)}).stdout.split()
    build(["cc", "-O2", HERE / "cold_start_iwseg.c", "-o", folder / "by_iwseg", *flags, f"-Wl,-rpath,{found.parent}"])
    os.environ["LIBIWSEG"] = str(found.parent / "libiwseg.so")
    root = pathlib.Path(torch.__file__).parent
    near = [path for path in sorted((root.parent / "nvidia").rglob("lib")) if path.is_dir()]
    build(["c++", "-std=c++20", "-O2", HERE / "cold_start_libtorch.cpp", "-o", folder / "by_libtorch",
           f"-I{root}/include", f"-I{root}/include/torch/csrc/api/include", f"-L{root}/lib", f"-Wl,-rpath,{root}/lib",
           *[f"-Wl,-rpath,{path}" for path in near], *[f"-Wl,-rpath-link,{path}" for path in near],
           "-Wl,--as-needed", "-ltorch_cpu", "-lc10"])
    version = importlib.metadata.version
    child = [sys.executable, __file__, "--child"]
    others = {}
    if more:
        made = subprocess.run([more, __file__, "--trace", folder, "--shared", shared], capture_output=True, text=True)
        if made.returncode != 0:
            sys.exit(f"{more}: {made.stderr}")
        others = {f"PyTorch {made.stdout.strip()}, CPU only": [more, *child[1:], "torch", folder]}
    return {
        "iwseg, from C": [folder / "by_iwseg", folder],
        "iwseg, from Python by ctypes": [*child, "ctypes", folder],
        f"LibTorch {version('torch')}, from C++": [folder / "by_libtorch", folder],
        f"PyTorch {version('torch')}": [*child, "torch", folder],
        **others,
        f"ONNX Runtime {version('onnxruntime')}, from Python": [*child, "onnxruntime", folder],
        f"OpenVINO {version('openvino')}, from Python": [*child, "openvino", folder],
        "(Python and importing NumPy alone)": [*child, "numpy", folder],
    }


# ---- Measuring

def libraries_of(process):
    """Files of shared libraries that the process has, without glibc's."""
    files = set()
    for line in open(f"/proc/{process}/maps"):
        file = line.split(maxsplit=5)[-1].strip()
        if ".so" in file and file.startswith("/") and not pathlib.Path(file).name.startswith(GLIBC):
            files.add(os.path.realpath(file))
    return files


def start(command):
    """Seconds until the process has predicted, what it printed, and its libraries."""
    begin = time.perf_counter()
    process = subprocess.Popen([str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    seconds = time.perf_counter() - begin
    if not line:
        sys.exit(f"{command} printed nothing")
    files = libraries_of(process.pid)
    process.stdin.close()
    process.wait()
    return seconds, float(line), files


def installed_bytes():
    """Of packages as pip installs them, PyTorch's without its parts for GPUs."""
    sizes = {}
    for name in ("torch", "onnxruntime", "openvino"):
        root = pathlib.Path(__import__(name).__file__).parent
        sizes[name] = sum(file.stat().st_size for file in root.rglob("*") if file.is_file() and not file.is_symlink()
                          and not any(part in file.name.lower() for part in CUDA_PARTS))
    return sizes


def processor():
    for line in open("/proc/cpuinfo"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip() + f", {len(os.sched_getaffinity(0))} cores"
    return platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iwseg", type=pathlib.Path, help="where iwseg is installed")
    parser.add_argument("--shared", type=pathlib.Path, help="where reference/unet_torch.py is")
    parser.add_argument("--more-python", help="a Python with another PyTorch, as Debian's, without parts for GPUs")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--child", choices=CHILDREN, help=argparse.SUPPRESS)
    parser.add_argument("--trace", type=pathlib.Path, help=argparse.SUPPRESS)
    parser.add_argument("folder", nargs="?", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.trace:
        print(trace(options.trace, options.shared))
        return
    if options.child:
        print(CHILDREN[options.child](options.folder), flush=True)
        sys.stdin.read()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_files(folder, options.shared)
        commands = programs(folder, options.iwseg.resolve(), options.more_python, options.shared)
        results = {what: [] for what in commands}
        for _ in range(options.rounds + 1):
            for what, command in commands.items():
                results[what].append(start(command))
    rows, expected = [], results["iwseg, from C"][0][1]
    for what, runs in results.items():
        seconds = [run[0] for run in runs[1:]]  # the first reads files from the disk
        files = runs[-1][2]
        if not what.startswith("(") and abs(runs[0][1] - expected) > 1e-4 * expected:
            sys.exit(f"{what} predicts {runs[0][1]}, iwseg {expected}")
        rows.append({"what": what, "seconds": statistics.median(seconds), "rounds": seconds, "libraries": len(files),
                     "library_bytes": sum(os.stat(file).st_size for file in files)})
        print(f"{what:42} {rows[-1]['seconds']:7.3f} s  {len(files):3} libraries {rows[-1]['library_bytes'] / 1e6:8.1f} MB",
              flush=True)
    installed = installed_bytes()
    print({name: f"{size / 1e6:.1f} MB" for name, size in installed.items()})
    if options.out:
        command = " ".join(["bench/cold_start.py", *sys.argv[1:]])
        options.out.write_text(json.dumps({"device": processor(), "command": command, "rows": rows,
                                           "installed_package_bytes": installed}, indent=1) + "\n")


if __name__ == "__main__":
    main()

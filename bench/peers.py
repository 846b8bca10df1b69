"""One measurement of a peer, in a process of its own: prints a JSON object with seconds (a median), version and peak bytes.

    bench/peers.py cc3d --mask ../shared/data/lesion_masks/ms_06.nii.gz
"""
import argparse
import gzip
import importlib.metadata
import json
import pathlib
import resource
import statistics
import sys
import time


def median_seconds(run, repetitions):
    """Without the first, in which memory is touched for the first time."""
    seconds = []
    for _ in range(repetitions + 1):
        begin = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - begin)
    return statistics.median(seconds[1:])


def read_mask(file):
    """The voxels of a NIfTI-1 file of whole numbers, as 0 and 1, without a library."""
    import numpy
    raw = gzip.decompress(pathlib.Path(file).read_bytes())
    shape = numpy.frombuffer(raw, "<i2", 8, 40)[1:4]
    kind = {2: "u1", 4: "<i2", 8: "<i4", 16: "<f4", 256: "i1", 512: "<u2"}[int(numpy.frombuffer(raw, "<i2", 1, 70)[0])]
    offset = int(numpy.frombuffer(raw, "<f4", 1, 108)[0])
    voxels = numpy.frombuffer(raw, kind, int(shape.prod(dtype="i8")), offset).reshape(shape, order="F")
    return numpy.ascontiguousarray(voxels > 0).view("u1")


def mask_of(options):
    import numpy
    if options.mask:
        return read_mask(options.mask)
    return (numpy.random.default_rng(0).random((options.size,) * 3) < options.density).astype("u1")


def labelling(options, version, label):
    """label(mask) returns how many components there are."""
    mask, counts = mask_of(options), []
    seconds = median_seconds(lambda: counts.append(label(mask)), options.steps)
    return {"seconds": seconds, "components": counts[-1], "version": version}


def cc3d(options):
    import cc3d as package
    import numpy
    return labelling(options, "cc3d " + importlib.metadata.version("connected-components-3d"),
                     lambda mask: package.connected_components(mask, connectivity=26, out_dtype=numpy.uint32, return_N=True)[1])


def scipy(options):
    import numpy
    import scipy.ndimage
    return labelling(options, "scipy " + scipy.__version__, lambda mask: scipy.ndimage.label(mask, numpy.ones((3, 3, 3)))[1])


def skimage(options):
    import skimage.measure
    return labelling(options, "scikit-image " + skimage.__version__,
                     lambda mask: skimage.measure.label(mask, connectivity=3, return_num=True)[1])


def weights(options):
    """Components by scikit-image and a pass over the patch for each, as the method is written down."""
    import numpy
    import skimage.measure
    random, patch = numpy.random.default_rng(0), options.patch
    mask = numpy.zeros((patch,) * 3, "u1")
    axes = numpy.indices(mask.shape)
    for _ in range(40 * patch**3 // 128**3 or 1):
        centre = random.integers(0, patch, 3)
        mask |= sum((axes[i] - centre[i]) ** 2 for i in range(3)) <= random.integers(1, 9) ** 2

    def run():
        labels = skimage.measure.label(mask, connectivity=3)
        weight, ids = numpy.zeros(labels.shape, "f4"), numpy.unique(labels)
        for one in ids:
            weight[labels == one] = labels.size / (len(ids) * numpy.count_nonzero(labels == one))
        numpy.clip(weight, 1, 2e5, out=weight)

    return {"seconds": median_seconds(run, options.steps), "version": "scikit-image " + skimage.__version__ + " and NumPy"}


def nibabel(options):
    import nibabel as package
    import numpy
    return {"seconds": median_seconds(lambda: numpy.asarray(package.load(options.image).dataobj, "f4"), options.steps),
            "version": "nibabel " + package.__version__}


def oracle(options):
    sys.path.insert(0, str(pathlib.Path(options.oracle).parent))
    import torch
    import unet_torch
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return torch, unet_torch


def torch_loss(options):
    torch, unet_torch = oracle(options)
    z = torch.randn(options.batch, 1, *[options.patch] * 3, requires_grad=True)
    t = (torch.rand_like(z) > 0.98).float()
    w = 1 + 50 * t

    def run(loss):
        z.grad = None
        loss(z, t, w).backward()

    return {"losses": {name: median_seconds(lambda: run(loss), options.steps) for name, loss in unet_torch.LOSSES.items()},
            "version": "torch " + torch.__version__}


class NumpySums:
    """What patches add up to where they overlap, by as many threads as the peer has: NumPy uses one by itself."""

    def __init__(self, shape, threads):
        import concurrent.futures
        import numpy
        self.numpy, self.slabs = numpy, threads
        self.pool = concurrent.futures.ThreadPoolExecutor(threads)
        self.logit, self.probability, self.count = (numpy.zeros(shape, "f4") for _ in range(3))

    def each_slab(self, count, run):
        bounds = [count * i // self.slabs for i in range(self.slabs + 1)]
        list(self.pool.map(lambda i: run(slice(bounds[i], bounds[i + 1])), range(self.slabs)))

    def add(self, place, z):
        numpy, logit, probability, count = self.numpy, *(a[place] for a in (self.logit, self.probability, self.count))

        def slab(part):
            logit[part] += z[part]
            sigmoid = numpy.negative(z[part])
            with numpy.errstate(over="ignore"):
                numpy.exp(sigmoid, out=sigmoid)
            sigmoid += 1
            probability[part] += numpy.reciprocal(sigmoid, out=sigmoid)
            count[part] += 1

        self.each_slab(len(z), slab)

    def means(self, inside):
        sums, count = [a[inside] for a in (self.logit, self.probability)], self.count[inside]
        means = [self.numpy.empty(a.shape, "f4") for a in sums]
        for a, mean in zip(sums, means):
            self.each_slab(len(a), lambda part: self.numpy.divide(a[part], count[part], out=mean[part]))
        return means


class TorchSums:
    """The same by PyTorch."""

    def __init__(self, shape, _):
        import torch
        self.logit, self.probability, self.count = (torch.zeros(shape) for _ in range(3))

    def add(self, place, z):
        self.logit[place] += z
        self.probability[place] += z.sigmoid()
        self.count[place] += 1

    def means(self, inside):
        return [(a / self.count)[inside] for a in (self.logit, self.probability)]


def grid_prediction(options, run, sums):
    """The grid of docs/design.md, section 10, on noise: patches are averaged where they overlap. run: logits of a patch."""
    import numpy
    shape, patch, stride = options.shape, options.patch, options.stride
    padded = [patch + -(-(max(n, patch) - patch) // stride) * stride for n in shape]
    begin = time.perf_counter()
    image = numpy.zeros((1, 1, *padded), "f4")
    first = [(p - n) // 2 for p, n in zip(padded, shape)]
    inside = tuple(slice(f, f + n) for f, n in zip(first, shape))
    image[0, 0][inside] = numpy.random.default_rng(0).standard_normal(shape, "f4")
    total = sums(padded, options.threads)
    for d in range(0, padded[0] - patch + 1, stride):
        for h in range(0, padded[1] - patch + 1, stride):
            for w in range(0, padded[2] - patch + 1, stride):
                place = (slice(d, d + patch), slice(h, h + patch), slice(w, w + patch))
                total.add(place, run(image[(..., *place)])[0, 0])
    total.means(inside)
    return time.perf_counter() - begin


def predicted(options, version, run, sums=NumpySums):
    """Of a whole scan, or one patch where no shape of a scan is given."""
    import numpy
    if options.shape:
        return {"seconds": grid_prediction(options, run, sums), "version": version}
    patch = numpy.random.default_rng(0).standard_normal((1, 1) + 3 * (options.patch,), "f4")
    return {"seconds": median_seconds(lambda: run(patch), options.steps), "version": version}


def torch_predict(options):
    torch, unet_torch = oracle(options)
    net = unet_torch.unet(widths=tuple(options.widths)).eval()

    def run(patch):
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16"):
            return net(torch.from_numpy(patch)).float()

    return predicted(options, "torch " + torch.__version__, run, TorchSums)


def openvino_predict(options):
    import openvino
    model = openvino.Core().compile_model(options.onnx, "CPU", {
        "INFERENCE_NUM_THREADS": options.threads,
        "INFERENCE_PRECISION_HINT": "bf16" if options.precision == "bf16" else "f32"})
    return predicted(options, "OpenVINO " + openvino.__version__.split("-")[0], lambda patch: model(patch)[0])


def onnxruntime_predict(options):
    import onnxruntime
    threads = onnxruntime.SessionOptions()
    threads.intra_op_num_threads = options.threads
    session = onnxruntime.InferenceSession(options.onnx, threads, providers=["CPUExecutionProvider"])
    return predicted(options, "ONNX Runtime " + onnxruntime.__version__, lambda patch: session.run(None, {"image": patch})[0])


def torch_convolution(options):
    """Each pass of a convolution by itself, in the faster of the two orders that PyTorch keeps tensors in."""
    import torch
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    type_of = torch.bfloat16 if options.precision == "bf16" else torch.float32
    inputs, outputs, step, kernel = options.tensor[1], options.out_channels, list(options.strides), options.kernel_size
    sides = (inputs, outputs) if options.transposed else (outputs, inputs // options.groups)
    padding = [0 if options.transposed else k // 2 for k in kernel]
    weights = (0.1 * torch.randn(*sides, *kernel)).to(type_of)
    x = torch.randn(*options.tensor).to(type_of)
    passes = {}
    for order in (torch.contiguous_format, torch.channels_last_3d):
        source, filters = x.contiguous(memory_format=order), weights.contiguous(memory_format=order)
        how = (step, padding, [1, 1, 1], options.transposed, [0, 0, 0], options.groups)
        with torch.inference_mode():
            gradient = torch.randn_like(torch.convolution(source, filters, None, *how)).contiguous(memory_format=order)
            backward = torch.ops.aten.convolution_backward
            for name, run in (
                    ("forward", lambda: torch.convolution(source, filters, None, *how)),
                    ("data", lambda: backward(gradient, source, filters, None, *how, [True, False, False])),
                    ("weights", lambda: backward(gradient, source, filters, None, *how, [False, True, False]))):
                passes[name] = min(passes.get(name, float("inf")), median_seconds(run, options.steps))
    return {"passes": passes, "version": "torch " + torch.__version__}


def torch_import(_):
    begin = time.perf_counter()
    import torch
    return {"seconds": time.perf_counter() - begin, "version": "torch " + torch.__version__}


def torch_size(_):
    """The libraries that a CPU's PyTorch is made of."""
    import torch
    folder = pathlib.Path(torch.__file__).parent / "lib"
    names = ("libtorch_cpu.so", "libtorch.so", "libtorch_python.so", "libc10.so", "libshm.so")
    return {"bytes": sum((folder / name).stat().st_size for name in names if (folder / name).exists()),
            "version": "torch " + torch.__version__ + ", CPU libraries"}


PEERS = {run.__name__: run for run in (cc3d, scipy, skimage, weights, nibabel, torch_loss, torch_predict, openvino_predict,
                                         onnxruntime_predict, torch_convolution, torch_import, torch_size)}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--oracle", help="unet_torch.py")
    parser.add_argument("--onnx", help="the network as bench/export_network.py writes it, for the same patch")
    parser.add_argument("--mask")
    parser.add_argument("--image")
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--density", type=float, default=0.1)
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--stride", type=int)
    parser.add_argument("--shape", type=int, nargs=3)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--tensor", type=int, nargs=5, help="N C D H W of what a convolution reads")
    parser.add_argument("--out-channels", type=int)
    parser.add_argument("--kernel-size", type=int, nargs=3)
    parser.add_argument("--strides", type=int, nargs=3)
    parser.add_argument("--groups", type=int, default=1)
    parser.add_argument("--transposed", action="store_true")
    parser.add_argument("--widths", type=int, nargs=4, default=(16, 64, 128, 256))
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=5)
    options = parser.parse_args()
    try:
        result = PEERS[options.peer](options)
    except ModuleNotFoundError as missing:  # another failure to import is one to be seen
        result = {"missing": missing.name}
    result["peak_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps(result))


if __name__ == "__main__":
    main()

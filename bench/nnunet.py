"""Times `iwseg predict --model` beside nnUNetv2_predict on the same model and scan, and its network beside ONNX Runtime and OpenVINO.

    bench/nnunet.py --iwseg build/release/bin/iwseg --python PYTHON --out bench/results/nnunet.json

PYTHON has nnunetv2, and onnx, onnxruntime and openvino where these are to be timed. A model of random weights is made, of the
size that nnU-Net plans for 3d_fullres, and a scan of noise at the plan's spacing. Whole commands are timed by the clock, their
peak is what the system counted for the process and its children one by one (the largest). The two runtimes compute windows of the
same grid without what is around them: their time is that of one window times the number of windows. Rounds are interleaved;
ratios are of the same round, medians of them. Run it on a quiet machine. Needs Python 3.9 and nothing else.
"""
import argparse
import json
import math
import os
import pathlib
import platform
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}


def plans(features, patch):
    stages = len(features)
    return {
        "dataset_name": "Dataset001_noise", "plans_name": "nnUNetPlans", "original_median_spacing_after_transp": [1.0] * 3,
        "original_median_shape_after_transp": patch, "image_reader_writer": "SimpleITKIO", "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2], "experiment_planner_used": "ExperimentPlanner", "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {"0": {
            "max": 1000.0, "mean": 0.0, "median": 0.0, "min": -1000.0, "percentile_00_5": -500.0, "percentile_99_5": 500.0, "std": 200.0}},
        "configurations": {"3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres", "preprocessor_name": "DefaultPreprocessor", "batch_size": 2, "patch_size": patch,
            "median_image_size_in_voxels": [float(side) for side in patch], "spacing": [1.0] * 3,
            "normalization_schemes": ["CTNormalization"], "use_mask_for_norm": [False],
            "resampling_fn_data": "resample_data_or_seg_to_shape", "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
            "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
            "resampling_fn_probabilities_kwargs": {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None},
            "architecture": {
                "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
                "arch_kwargs": {
                    "n_stages": stages, "features_per_stage": features, "conv_op": "torch.nn.modules.conv.Conv3d",
                    "kernel_sizes": [[3] * 3] * stages, "strides": [[1] * 3] + [[2] * 3] * (stages - 1), "n_conv_per_stage": [2] * stages,
                    "n_conv_per_stage_decoder": [2] * (stages - 1), "conv_bias": True,
                    "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-05, "affine": True},
                    "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU", "nonlin_kwargs": {"inplace": True}},
                "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"]},
            "batch_dice": False}}}


def network_of(folder, deep_supervision):
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
    architecture = json.loads((folder / "model" / "plans.json").read_text())["configurations"]["3d_fullres"]["architecture"]
    return get_network_from_plans(architecture["network_class_name"], architecture["arch_kwargs"], architecture["_kw_requires_import"], 1, 3,
                                  deep_supervision=deep_supervision)


def make(folder, options):
    """By PYTHON: the model, a scan, and the network alone as ONNX and for OpenVINO."""
    import numpy
    import nibabel
    import torch
    torch.manual_seed(1)
    model = folder / "model"
    (model / "fold_0").mkdir(parents=True)
    (folder / "scans").mkdir()
    planned = plans(options.features, [options.patch] * 3)
    dataset = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "organ": 1, "tumour": 2}, "numTraining": 1, "file_ending": ".nii.gz"}
    (model / "plans.json").write_text(json.dumps(planned))
    (model / "dataset.json").write_text(json.dumps(dataset))
    network = network_of(folder, True)
    torch.save({"network_weights": network.state_dict(), "optimizer_state": None, "grad_scaler_state": None, "logging": {}, "_best_ema": None,
                "current_epoch": 1000, "trainer_name": "nnUNetTrainer", "inference_allowed_mirroring_axes": (0, 1, 2),
                "init_args": {"plans": planned, "configuration": "3d_fullres", "fold": 0, "dataset_json": dataset}},
               model / "fold_0" / "checkpoint_final.pth")
    coarse = numpy.random.default_rng(1).normal(0, 200, [side // 8 + 1 for side in options.shape])
    scan = numpy.kron(coarse.astype(numpy.int16), numpy.ones((8, 8, 8), numpy.int16))[tuple(slice(side) for side in options.shape)]
    x, y, z = options.spacing
    nibabel.save(nibabel.Nifti1Image(scan, numpy.diag([-x, -y, z, 1])), folder / "scans" / "scan_0000.nii.gz")
    alone = network_of(folder, False).eval()
    alone.load_state_dict(network.state_dict(), strict=False)
    image = torch.zeros(1, 1, *[options.patch] * 3)
    try:
        import openvino
        torch.onnx.export(alone, (image,), folder / "network.onnx", dynamo=False)
        openvino.save_model(openvino.convert_model(folder / "network.onnx"), folder / "network.xml", compress_to_fp16=False)
    except ImportError as error:
        print(error.name, file=sys.stderr)


def seconds_of(run, repetitions):
    run()
    times = []
    for _ in range(repetitions):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def window(folder, options):
    """By PYTHON: seconds of a window, and this process's peak."""
    import numpy
    image = numpy.random.default_rng(1).normal(size=(1, 1, *[options.patch] * 3)).astype(numpy.float32)
    if options.window == "onnxruntime":
        import onnxruntime
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(folder / "network.onnx", settings, providers=["CPUExecutionProvider"])
        name = session.get_inputs()[0].name
        seconds, version = seconds_of(lambda: session.run(None, {name: image}), 2), onnxruntime.__version__
    else:
        import openvino
        precision = "f32" if options.window == "openvino_fp32" else "bf16"
        compiled = openvino.Core().compile_model(folder / "network.xml", "CPU", {
            "INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": options.threads, "PERFORMANCE_HINT": "LATENCY"})
        seconds, version = seconds_of(lambda: compiled([image]), 2), openvino.__version__
    print(json.dumps({"seconds": seconds, "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
                      "version": f"{options.window.split('_')[0]} {version}"}))


def timed(command, environment=None):
    """Seconds of a command, its peak (of its processes the largest), and what it printed."""
    start = time.perf_counter()
    child = subprocess.Popen([str(part) for part in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             env=environment or ENVIRONMENT)
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))} failed: {text.strip().splitlines()[-3:]}")
    return time.perf_counter() - start, usage.ru_maxrss * 1024, text


def stated_bytes(text):
    """The memory that iwseg says beforehand it will take: "memory   1.31 GB in all"."""
    value, unit = re.search(r"^memory +([0-9.]+) (MB|GB) in all", text, re.MULTILINE).groups()
    return round(float(value) * {"MB": 1e6, "GB": 1e9}[unit])


AGREEMENT = """
import sys, nibabel, numpy
one, two = (numpy.asarray(nibabel.load(file).dataobj) for file in sys.argv[1:])
print((one == two).mean())
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--iwseg", type=pathlib.Path)
    parser.add_argument("--python", default=sys.executable, help="with nnunetv2")
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--shape", type=int, nargs=3, default=[256, 256, 150])
    parser.add_argument("--spacing", type=float, nargs=3, default=[1.0, 1, 1], help="of the scan, in mm; the model's is 1")
    parser.add_argument("--patch", type=int, default=128)
    parser.add_argument("--features", type=int, nargs="+", default=[32, 64, 128, 256, 320, 320])
    parser.add_argument("--mirror", action="store_true", help="eight times the work")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--only", nargs="*", help="of nnunet, onnxruntime, openvino_fp32, openvino_bf16; nothing: iwseg alone")
    parser.add_argument("--precisions", nargs="+", default=["fp32", "bf16"])
    parser.add_argument("--step-size", type=float, default=0.5, help="of windows, as a share of their side")
    parser.add_argument("--window", help=argparse.SUPPRESS)
    parser.add_argument("--make", type=pathlib.Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.window:
        return window(options.make, options)
    if options.make:
        return make(options.make, options)
    if not options.iwseg:
        parser.error("--iwseg is needed")
    with tempfile.TemporaryDirectory() as work:
        folder = pathlib.Path(work)
        sizes = ["--shape", *options.shape, "--spacing", *options.spacing, "--patch", options.patch, "--features", *options.features, "--threads", options.threads]
        timed([options.python, __file__, "--make", folder, *sizes])
        tta = [] if options.mirror else ["--disable_tta"]
        ours = {precision: [options.iwseg, "predict", "--model", folder / "model", "-i", folder / "scans", "-o", folder / f"ours_{precision}",
                            "--precision", precision, "--threads", options.threads, "--step-size", options.step_size, "--device", "cpu",
                            *(["--disable-tta"] if tta else [])]
                for precision in options.precisions}
        nnunet = [pathlib.Path(options.python).parent / "nnUNetv2_predict_from_modelfolder", "-m", folder / "model", "-i", folder / "scans",
                  "-o", folder / "nnunet", "-f", 0, "-device", "cpu", "-npp", 1, "-nps", 1, "-step_size", options.step_size, "--disable_progress_bar", *tta]
        quiet = dict(ENVIRONMENT, nnUNet_raw=work, nnUNet_preprocessed=work, nnUNet_results=work, CUDA_VISIBLE_DEVICES="", nnUNet_compile="f")
        peers = ["nnunet", "onnxruntime", "openvino_fp32", "openvino_bf16"] if options.only is None else options.only
        seen = [round(side * mm) for side, mm in zip(options.shape, options.spacing)]
        along = [1 if side <= options.patch else math.ceil((side - options.patch) / (options.patch * options.step_size)) + 1 for side in seen]
        windows = along[0] * along[1] * along[2] * (8 if options.mirror else 1)
        print(f"{windows} windows of {options.patch}^3, features {options.features}, {options.threads} threads")
        rows, labels, stated = [], {}, {}
        for _ in range(options.rounds):
            row = {}
            for precision, command in ours.items():
                for old in (folder / f"ours_{precision}").glob("*"):
                    old.unlink()
                *row[f"iwseg_{precision}"], text = timed(command)
                stated[precision] = stated_bytes(text)
            for peer in peers:
                if peer == "nnunet":
                    row[peer] = timed(nnunet, quiet)[:2]
                else:
                    said = json.loads(subprocess.run([options.python, __file__, "--window", peer, "--make", str(folder), *map(str, sizes)],
                                                     capture_output=True, text=True, check=True).stdout)
                    row[peer] = (said["seconds"] * windows, said["peak_bytes"])
            rows.append(row)
            print("  ".join(f"{name} {seconds:.1f} s {peak / 1e9:.2f} GB" for name, (seconds, peak) in row.items()), flush=True)
        for precision, named in stated.items():
            peak = max(row[f"iwseg_{precision}"][1] for row in rows)
            print(f"iwseg {precision} says {named / 1e9:.2f} GB, takes {peak / 1e9:.2f}")
        if "nnunet" in peers:
            for precision in ours:
                labels[precision] = float(subprocess.run([options.python, "-c", AGREEMENT, folder / f"ours_{precision}" / "scan.nii.gz",
                                                          folder / "nnunet" / "scan.nii.gz"], capture_output=True, text=True, check=True).stdout)
        for precision in ours:
            for peer in peers:
                time_ratio = statistics.median(row[f"iwseg_{precision}"][0] / row[peer][0] for row in rows)
                memory_ratio = statistics.median(row[f"iwseg_{precision}"][1] / row[peer][1] for row in rows)
                print(f"iwseg {precision} over {peer}: {time_ratio:.2f} of its time, {memory_ratio:.2f} of its memory")
        for precision, share in labels.items():
            print(f"labels of {precision} as nnU-Net's: {100 * share:.3f} %")
        if options.out:
            model = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
            options.out.write_text(json.dumps({
                "command": "bench/nnunet.py", "processor": model[1] if model else platform.machine(), "threads": options.threads,
                "shape": options.shape, "spacing": options.spacing, "patch": options.patch, "features": options.features, "mirror": options.mirror, "windows": windows,
                "step_size": options.step_size, "equal_labels": labels, "stated_bytes": stated,
                "rounds": [{name: {"seconds": seconds, "peak_bytes": peak} for name, (seconds, peak) in row.items()} for row in rows]},
                indent=1) + "\n")


if __name__ == "__main__":
    main()

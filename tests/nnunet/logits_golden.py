#!/ usr / bin / env python3
"""Writes tests/golden/nnunet_logits.safetensors: what nnU-Net itself predicts with the golden models where it adds logits
up in f32, not in half precision: every 29th logit before resampling, with mirroring and without, and the labels' counts.

    tests/nnunet/logits_golden.py ../shared/golden/nnunet tests/golden        (nnunetv2 2.8.1 and PyTorch installed)
"""
import json
import os
import struct
import sys
from pathlib import Path

for folder in ("raw", "preprocessed", "results"):
    os.environ["nnUNet_" + folder] = "/tmp"
os.environ["nnUNet_compile"] = "f"
import numpy
import torch
from nnunetv2.inference.export_prediction import convert_predicted_logits_to_segmentation_with_correct_shape
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

EVERY = 29


def main(models, out):
    arrays = {}
    for name in ("plain", "resenc"):
        for mirror in (True, False):
            predictor = nnUNetPredictor(use_mirroring=mirror, perform_everything_on_device=False,
                                        device=torch.device("cpu"), allow_tqdm=False)
            predictor.initialize_from_trained_model_folder(str(models / name / "model"), use_folds=(0,))
            plans, configuration = predictor.plans_manager, predictor.configuration_manager
            preprocessor = configuration.preprocessor_class(verbose=False)
            for case in ("case_0", "case_1"):
                files = sorted(str(f) for f in (models / name / "imagesTs").glob(case + "_*"))
                data, _, properties = preprocessor.run_case(files, None, plans, configuration, predictor.dataset_json)
                torch.half = torch.float32
                logits = predictor.predict_logits_from_preprocessed_data(torch.from_numpy(data)).numpy()
                torch.half = torch.float16
                labels = convert_predicted_logits_to_segmentation_with_correct_shape(
                    logits, plans, configuration, predictor.label_manager, properties)
                key = f"{name}.{case}" + ("" if mirror else ".no_tta")
                arrays[key] = logits.astype(numpy.float32).ravel()[::EVERY]
                arrays[key + ".counts"] = numpy.bincount(labels.ravel(), minlength=3).astype(numpy.float32)
    header, data = {"__metadata__": {"every": str(EVERY)}}, b""
    for key, array in arrays.items():
        header[key] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.tobytes()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    (out / "nnunet_logits.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))

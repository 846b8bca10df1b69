#pragma once

#include <string>
#include <string_view>

#include "apps/config/config.h"
#include "models/networks.h"

namespace iwseg {

/// What a user is told of a key, by `iwseg train --keys` and docs/configuration.md. A key without a meaning does not
/// compile.
struct KeyText {
    const char* unit;     ///< or the values it can have
    const char* meaning;  ///< one sentence without a full stop

    consteval KeyText(const char* unit_or_values, const char* what) : unit(unit_or_values), meaning(what) {
        if (*unit == '\0' || *meaning == '\0') throw "a key needs a unit and a meaning";
    }
    /// Of values that a table lists, which lives as long as the program.
    KeyText(const std::string& values, const char* what) : unit(values.c_str()), meaning(what) {}
    KeyText(std::string&&, const char*) = delete;
};

/// The one list of keys: reading, writing, comparing and the documents all walk it. visit(name, value, KeyText).
/// After a change: iwseg train --keys=markdown > docs/configuration.md
template <class AnyConfig, class Visitor>
void for_each_key(AnyConfig& c, Visitor&& visit) {
    using T = KeyText;
    visit("loss", c.loss,
          T("bce, wce, dl, gdl, asl, fl, iwbce, iwdl, iwasl, iwfl",
            "what training minimises; iw… weights each voxel by the inverse of its lesion's size; or a sum of terms "
            "(docs/losses.md), as \"dice + 0.5*ce\" or \"dice + ce + 0.1*cat @warmup 50\""));
    visit("focal_alpha", c.focal_alpha,
          T("share, 0 to 1", "of fl and iwfl: weight of lesion voxels against background"));
    visit("focal_gamma", c.focal_gamma,
          T("exponent", "of fl and iwfl: how far voxels that are right already count less"));
    visit("asl_beta", c.asl_beta, T("ratio", "of asl and iwasl: how much more a missed voxel counts than a false one"));
    visit("precision", c.precision, T("fp32 or bf16", "of activations and convolutions; weights and sums are fp32"));
    visit("network", c.network,
          T(network_choices(),
            "the study's residual U-Net, one as nnU-Net plans them (plain, or as its ResEnc presets have it), or "
            "MONAI's"));
    visit("widths", c.widths,
          T("channels",
            "of the network's levels, four of unet, six of basic_unet (MONAI's features), two or more of the others; "
            "time and memory grow with them"));
    visit("deep_supervision", c.deep_supervision,
          T("true or false",
            "of nnU-Net's two networks: the loss is computed at each resolution of the decoder but the "
            "coarsest, with weights of 1, 1/2, 1/4, … by their sum"));
    visit("patch", c.patch,
          T("voxels", "sides of a training patch, multiples of 8 with four levels; one number is a cube"));
    visit("batch", c.batch, T("patches", "that a step is computed on"));
    visit("epochs", c.epochs, T("epochs", "length of the training"));
    visit("steps_per_epoch", c.steps_per_epoch, T("steps", "what counts as an epoch, whatever the number of scans"));
    visit("learning_rate", c.learning_rate, T("step size", "of the optimizer, before lr_schedule"));
    visit("lr_schedule", c.lr_schedule,
          T("[epoch, factor]", "from that epoch on (the first is 0) the learning rate is multiplied by the factor"));
    visit("optimizer", c.optimizer, T("sgd or adamw", "by which weights follow from gradients, as PyTorch's do"));
    visit("momentum", c.momentum, T("share, below 1", "of sgd: of the last update that is added to the next"));
    visit("nesterov", c.nesterov, T("true or false", "of sgd: momentum in the form of Nesterov"));
    visit("adam_betas", c.adam_betas, T("shares, below 1", "of adamw: what its two moments keep from step to step"));
    visit("weight_decay", c.weight_decay,
          T("per step",
            "share of each weight that sgd adds to its gradient, and by which adamw, times the rate, "
            "shrinks it"));
    visit("accumulate", c.accumulate,
          T("batches", "whose gradients a step averages: a larger batch than memory holds, one after another"));
    visit("clip_norm", c.clip_norm,
          T("norm", "to which all gradients together are scaled down where theirs is larger; 0: never"));
    visit("weight_average", c.weight_average,
          T("share, below 1",
            "that the moving average of weights keeps each step; it is validated and saved in place of "
            "the weights; 0: no average"));
    visit("nonzero_fraction", c.nonzero_fraction,
          T("share, 0 to 1", "of patches centred on a lesion voxel; the others lie anywhere"));
    visit("components", c.components,
          T("volume or patch",
            "whether the lesions of inverse weighting are those of the whole scan or of the patch alone"));
    visit("connectivity", c.connectivity, T("6, 18 or 26", "neighbours by which voxels belong to one lesion"));
    visit("weight_clip", c.weight_clip, T("weights", "smallest and largest inverse weight of a voxel"));
    visit("seed", c.seed, T("whole number", "of initial weights, patches, augmentation and the drawn split"));
    visit("channels", c.channels,
          T("names or numbers from 0", "channels of the dataset that the network sees; empty: all but mask_channel"));
    visit("intensity", c.intensity,
          T("none, zscore or {window = [lo, hi]}",
            "what is done to image values: z-scores of the nonzero voxels (MRI), or clipping to a window and scaling "
            "to 0 to 1 (CT, in HU)"));
    visit("nan", c.nan,
          T("number or refuse", "what voxels of images become that are not finite; refuse: such an image is an error"));
    visit("mask_channel", c.mask_channel,
          T("name or number", "a channel that is a mask: outside of it the image is set to its minimum; empty: none"));
    visit("labels", c.labels,
          T("label values", "that are lesion; empty: all that the dataset names, else every value above 0"));
    visit("classes", c.classes,
          T("names with label values",
            "that are told apart by a softmax, as \"edema=1, tumour=2+3\", or \"dataset\" for those of dataset.json; "
            "empty: lesions are of no class; lesions of losses are then those of each class in the patch"));
    visit("regions", c.regions,
          T("names with label values",
            "the same of classes that lie within each other or apart, each with a sigmoid, larger ones first: "
            "\"whole=1+2+3, core=2+3\", or \"dataset\", in the order of dataset.json where it has a "
            "regions_class_order, which says then what each is written as"));
    visit("predict.patch", c.predict.patch, T("voxels", "side of the patches that whole scans are predicted by"));
    visit("predict.stride", c.predict.stride, T("voxels", "from patch to patch; where they overlap they are averaged"));
    visit("augment.flip", c.augment.flip, T("true or false", "mirror patches along each axis with probability 1/2"));
    visit("augment.rotate", c.augment.rotate,
          T("true or false", "turn patches by 0 to 3 right angles in planes where they are square"));
    visit("small_diameter", c.small_diameter,
          T("voxels", "lesions up to it are evaluated on their own as small; 0: the smaller half"));
    visit("split", c.split_name, T("name", "a split of the dataset's splits.json, in place of lists of cases"));
    visit("split.train", c.split.train,
          T("case names", "to train on; all three empty: splits_final.json, else 70/10/20 % drawn by seed"));
    visit("split.validation", c.split.validation,
          T("case names", "set aside from training to follow it by and to choose the masks' threshold; may be empty"));
    visit("split.test", c.split.test, T("case names", "predicted and evaluated after training"));
    visit("fold", c.fold, T("whole number from 0", "which split of splits_final.json is trained, where there is one"));
    visit("validate_every", c.validate_every,
          T("steps", "from one pass over validation scans to the next; 0: once an epoch"));
    visit("validate_share", c.validate_share,
          T("share, 0 to 1",
            "of the training's work that these passes may take: fewer scans, then fewer passes; 0: no validation"));
    visit("checkpoint_every", c.checkpoint_every, T("steps", "from checkpoint to checkpoint; 0: once an epoch"));
    visit("workers", c.workers,
          T("threads", "that load patches; 0: a quarter of the computing ones, at least 1, at most 8"));
    visit("threads", c.threads, T("threads", "that compute; 0: OMP_NUM_THREADS, else as cores and CPU quota allow"));
    visit("deterministic", c.deterministic,
          T("true or false", "the same bytes from run to run, on a GPU at some cost in time"));
    visit(
        "tf32", c.tf32,
        T("true or false",
          "on a GPU with precision fp32: convolutions round their operands to 10 bits of fraction for tensor cores, as "
          "PyTorch's do; sums stay fp32"));
}

/// Whether the key says how scans are read for a network and computed with: networks that differ in one cannot be
/// averaged, and a prediction that was made with another is stale.
inline bool says_how_scans_are_read(std::string_view key) {
    return key == "intensity" || key == "channels" || key == "mask_channel" || key == "nan" || key == "precision";
}

}  // namespace iwseg

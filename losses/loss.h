#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/loss/formulas.h"

namespace iwseg {

/// What a term is computed over.
enum class TermKind : std::uint8_t {
    voxels,          ///< a formula of sums over voxels
    hardest_voxels,  ///< cross-entropy of the hardest of them: topk
    size_weighted,   ///< the same, weighted by lesion size: cat
    lesion_maximum,  ///< the largest probability of each lesion: mil
    instances,       ///< Dice of each lesion with the detections that reach it: ici
    blobs,           ///< the terms in brackets over each lesion, the others left out: blob(dice + ce)
    regions,         ///< the terms in brackets over the voxels nearest to each lesion: cc(dice + ce)
};

struct LossTerm {
    std::string name;  ///< losses/term_names.h, with what stands in its brackets: "tversky(0.2, 0.8)"
    formulas::Formula formula;
    bool weighted = false;  ///< each voxel by the inverse of its component's size
    float factor = 1;       ///< above 0
    TermKind kind = TermKind::voxels;
    float warmup = 0;                  ///< epochs over which the factor rises from 0, as it is written; 0: it does not
    float warmup_steps = 0;            ///< the same in steps
    float percent = 0;                 ///< of the voxels, in terms of kind hardest_voxels
    int connectivity = 26;             ///< of the output's components, in terms of kind instances
    std::vector<LossTerm> inner = {};  ///< the terms in brackets, of kind voxels, without weights and warm-ups

    bool operator==(const LossTerm&) const = default;
};

/// A sum of terms, as a configuration names it (docs/losses.md): one of the study's ten, bce, iwbce, wce, dl, iwdl,
/// gdl, asl, iwasl, fl, iwfl, or a sum as `dice + ce`, `iwdice + 0.5*iwce`, `dice + ce + 0.1*cat @warmup 50`. At least
/// one term; none comes twice.
struct Loss {
    std::string name;  ///< one spelling, however it was given; of other options than a configuration's it does not tell
    std::vector<LossTerm> terms;

    bool weighted() const;      ///< reads inverse weights
    bool reads_labels() const;  ///< reads the labels of lesions: for weights, or because terms look at single lesions
    bool warms_up() const;      ///< depends on the step
};

/// In place of the published values. Each has a range, bounds included.
struct LossOptions {
    struct Range {
        double low, high;
        constexpr bool holds(double value) const { return value >= low && value <= high; }
    };
    static constexpr Range kFocalAlphaRange{0, 1}, kFocalGammaRange{0, 10}, kAslBetaRange{1e-3, 100};

    float focal_alpha = 0.75f, focal_gamma = 2.0f, asl_beta = 1.5f;
    std::int64_t steps_per_epoch = 100;  ///< of warm-ups, which are written in epochs
    int connectivity = 26;               ///< 6, 18 or 26, of the output's components (ici)
};

/// Throws InputError naming the nearest known loss or term, or the option that is outside of its range.
Loss loss_from_name(const std::string& name, const LossOptions& options = {});
/// To be added up: `dice() + 0.5f * iwbce()`. Dice is that of the whole batch, smoothed; bce the binary cross-entropy;
/// iw… weights each voxel by the inverse of its component's size.
Loss dice();
Loss iwdice();
Loss bce();
Loss iwbce();
Loss operator+(const Loss& a, const Loss& b);
/// factor: above 0, finite. Throws InputError on others.
Loss operator*(float factor, const Loss& loss);

/// The study's ten.
const std::vector<std::string>& loss_names();

}  // namespace iwseg

#pragma once

#include <algorithm>
#include <variant>

#include "kernels/loss/combine.h"
#include "kernels/loss/formulas/balanced_cross_entropy.h"
#include "kernels/loss/formulas/class_entropy.h"
#include "kernels/loss/formulas/cross_entropy.h"
#include "kernels/loss/formulas/focal.h"
#include "kernels/loss/formulas/focal_tversky.h"
#include "kernels/loss/formulas/generalised_dice.h"
#include "kernels/loss/formulas/overlap.h"
#include "kernels/loss/formulas/soft_dice.h"
#include "kernels/loss/formulas/tversky.h"
#include "kernels/loss/formulas/unified_focal.h"

// What backends have passes for. A new formula is a file in formulas/ and a row of Formula; its name, a row of
// losses/term_names.cpp.
namespace iwseg::formulas {

/// The formula of one term of a loss.
using Formula = std::variant<CrossEntropy, BalancedCrossEntropy, Overlap, GeneralisedDice, Focal<true>, Focal<false>,
                             SoftDice, Tversky, PatchTversky, FocalTversky, UnifiedFocal, ClassEntropy>;

/// Sums that are computed in two passes together. Terms of other sums take two passes each.
using DiceAndCrossEntropy = Sum<Scaled<SoftDice>, Scaled<CrossEntropy>>;
using MixedDiceAndCrossEntropy =
    Sum<Sum<Scaled<Unweighted<SoftDice>>, Scaled<Unweighted<CrossEntropy>>>, DiceAndCrossEntropy>;

template <class Terms, class... Sums>
struct PassesOf;
template <class... F, class... Sums>
struct PassesOf<std::variant<F...>, Sums...> {
    using type = std::variant<Scaled<F>..., Sums...>;
    static constexpr int kMostSums = std::max({F::kSums..., Sums::kSums...});
    static constexpr int kMostCoefficients = std::max({F::kCoefficients..., Sums::kCoefficients...});
};
using Passes = PassesOf<Formula, DiceAndCrossEntropy, MixedDiceAndCrossEntropy>;

/// What is computed over single regions of a patch (kernels/loss/region_loss.h): formulas without weights.
using RegionFormula = std::variant<Scaled<CrossEntropy>, Scaled<BalancedCrossEntropy>, Scaled<Overlap>,
                                   Scaled<GeneralisedDice>, Scaled<Focal<true>>, Scaled<Focal<false>>, Scaled<SoftDice>,
                                   Scaled<Tversky>, Scaled<FocalTversky>, Scaled<UnifiedFocal>, DiceAndCrossEntropy>;
template <class>
struct MostOf;
template <class... F>
struct MostOf<std::variant<F...>> {
    static constexpr int kSums = std::max({F::kSums...}), kCoefficients = std::max({F::kCoefficients...});
};
constexpr int kMostRegionSums = MostOf<RegionFormula>::kSums;
constexpr int kMostRegionCoefficients = MostOf<RegionFormula>::kCoefficients;

/// What a backend instantiates its two passes for, each a struct of its own type.
using PassFormula = Passes::type;
constexpr int kMostSums = Passes::kMostSums;
constexpr int kMostCoefficients = (Passes::kMostCoefficients + 1) / 2 * 2;  ///< even: f64 lies after them

}  // namespace iwseg::formulas

#pragma once

#include <cstdint>
#include <stdexcept>

#include "kernels/loss/loss.h"
#include "kernels/loss/loss_formulas.h"

// From a loss's parameters to the struct that a backend instantiates its passes for.
namespace iwseg::loss {

using DiceAndCrossEntropy = Sum<Scaled<SoftDice>, Scaled<CrossEntropy>>;
using MixedDiceAndCrossEntropy =
    Sum<Sum<Scaled<Unweighted<SoftDice>>, Scaled<Unweighted<CrossEntropy>>>, DiceAndCrossEntropy>;

constexpr int kMostSums = MixedDiceAndCrossEntropy::kSums, kMostCoefficients = MixedDiceAndCrossEntropy::kCoefficients;
static_assert(kMostSums >= GeneralisedDice::kSums && kMostCoefficients >= GeneralisedDice::kCoefficients);

/// Whether some terms of a sum take inverse weights and others do not.
inline bool is_mixed(const LossTerms& terms) {
    return (terms.dice != 0 || terms.ce != 0) && (terms.iwdice != 0 || terms.iwce != 0);
}

/// The labels that the formula looks weights up by, or null: a sum of plain terms takes none.
inline const std::int32_t* labels_read(const LossParameters& p, const LossInput& input) {
    const bool plain_sum = p.formula == LossFormula::sum && p.terms.iwdice == 0 && p.terms.iwce == 0;
    return plain_sum ? nullptr : input.labels;
}

/// Calls body(formula), a struct of its own type for each. Where all terms of a sum are weighted alike, the input's
/// labels say how, and one Dice and one cross-entropy do.
template <class Body>
void with_formula(const LossParameters& p, Body&& body) {
    switch (p.formula) {
        case LossFormula::bce:
            return body(CrossEntropy{});
        case LossFormula::wce:
            return body(BalancedCrossEntropy{});
        case LossFormula::overlap:
            return body(Overlap{p.beta2});
        case LossFormula::generalised_dice:
            return body(GeneralisedDice{});
        case LossFormula::focal:
            return p.gamma == 2.0f ? body(Focal<true>{p.alpha, p.gamma}) : body(Focal<false>{p.alpha, p.gamma});
        case LossFormula::sum: {
            const LossTerms& t = p.terms;
            if (!is_mixed(t)) return body(DiceAndCrossEntropy{{{}, t.dice + t.iwdice}, {{}, t.ce + t.iwce}});
            return body(MixedDiceAndCrossEntropy{{{{}, t.dice}, {{}, t.ce}}, {{{}, t.iwdice}, {{}, t.iwce}}});
        }
    }
    throw std::invalid_argument("loss: unknown formula");
}

inline void require_input(const LossParameters& parameters, const LossInput& input) {
    const View& logit = input.logit;
    if (logit.shape.c != 1 || block_of(logit.layout, 1) != 1 || !input.target)
        throw std::invalid_argument("loss: expected logits of one channel, ncdhw, and a target");
    if (input.labels && (!input.weights || input.stride < 1))
        throw std::invalid_argument("loss: labels are given without the weights to look up");
    const LossFormula formula = parameters.formula;
    if (input.labels && (formula == LossFormula::wce || formula == LossFormula::generalised_dice))
        throw std::invalid_argument("loss: weighted cross-entropy and generalised Dice take no inverse weights");
}

}  // namespace iwseg::loss

#include "losses/region_passes.h"

#include <algorithm>
#include <stdexcept>
#include <type_traits>
#include <variant>

namespace iwseg {
namespace {

template <class F>
const LossTerm* find_term(const std::vector<LossTerm>& terms) {
    const auto found = std::find_if(terms.begin(), terms.end(),
                                    [](const LossTerm& term) { return std::holds_alternative<F>(term.formula); });
    return found == terms.end() ? nullptr : &*found;
}

formulas::RegionFormula formula_of(const LossTerm& term, float factor) {
    return std::visit(
        [&](const auto& formula) -> formulas::RegionFormula {
            using Scaled = formulas::Scaled<std::decay_t<decltype(formula)>>;
            if constexpr (std::is_constructible_v<formulas::RegionFormula, std::in_place_type_t<Scaled>, Scaled>)
                return Scaled{formula, factor * term.factor};
            else
                throw std::logic_error(term.name + " over the regions of lesions");
        },
        term.formula);
}

}  // namespace

std::vector<RegionPass> region_passes(const LossTerm& term) {
    if (term.kind != TermKind::blobs && term.kind != TermKind::regions) return {};
    const LossRegions regions = term.kind == TermKind::blobs ? LossRegions::lesion_and_rest : LossRegions::nearest;
    std::vector<RegionPass> passes;
    const LossTerm* const dice = find_term<formulas::SoftDice>(term.inner);
    const LossTerm* const entropy = find_term<formulas::CrossEntropy>(term.inner);
    const bool both = dice && entropy;
    if (both)
        passes.push_back(
            {formulas::DiceAndCrossEntropy{{{}, term.factor * dice->factor}, {{}, term.factor * entropy->factor}},
             regions, term.warmup_steps});
    for (const LossTerm& inner : term.inner)
        if (!both || (&inner != dice && &inner != entropy))
            passes.push_back({formula_of(inner, term.factor), regions, term.warmup_steps});
    return passes;
}

}  // namespace iwseg

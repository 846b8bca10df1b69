#include "losses/loss_passes.h"

#include <cstddef>
#include <map>
#include <utility>
#include <variant>

namespace iwseg {
namespace {

using formulas::Scaled, formulas::Sum, formulas::Unweighted;

/// Fills the first empty place that the term fits, of a pass that is weighted or not. False where there is none.
template <class F>
bool take(Scaled<F>& place, const LossTerm& term, bool weighted) {
    const F* formula = std::get_if<F>(&term.formula);
    if (!formula || term.weighted != weighted || place.factor != 0) return false;
    place = {*formula, term.factor};
    return true;
}
template <class F>
bool take(Scaled<Unweighted<F>>& place, const LossTerm& term, bool) {
    const F* formula = std::get_if<F>(&term.formula);
    if (!formula || term.weighted || place.factor != 0) return false;
    place = {{*formula}, term.factor};
    return true;
}
template <class A, class B>
bool take(Sum<A, B>& sum, const LossTerm& term, bool weighted) {
    return take(sum.a, term, weighted) || take(sum.b, term, weighted);
}

template <class F>
constexpr int kPlaces = 1;
template <class A, class B>
constexpr int kPlaces<Sum<A, B>> = kPlaces<A> + kPlaces<B>;

/// A pass, and which of the terms are in it.
struct Choice {
    LossPass pass;
    std::vector<bool> taken;
    int terms = 0, empty = 0;

    bool is_better_than(const Choice& other) const {
        return terms != other.terms ? terms > other.terms : empty < other.empty;
    }
};

template <class F>
Choice choice_of(F formula, bool weighted, const std::vector<LossTerm>& terms) {
    Choice choice{{}, std::vector<bool>(terms.size())};
    for (std::size_t i = 0; i < terms.size(); ++i) {
        choice.taken[i] = take(formula, terms[i], weighted);
        choice.terms += choice.taken[i];
    }
    choice.pass = {formula, weighted, terms.front().warmup_steps};
    choice.empty = kPlaces<F> - choice.terms;
    return choice;
}

/// The pass that takes the most of the terms, which are of one warm-up; of several, the one with the fewest empty
/// places.
template <std::size_t... I>
Choice best_choice(const std::vector<LossTerm>& terms, std::index_sequence<I...>) {
    Choice best;
    const auto consider = [&](auto formula) {
        for (const bool weighted : {false, true}) {
            Choice choice = choice_of(formula, weighted, terms);
            if (choice.is_better_than(best)) best = std::move(choice);
        }
    };
    (consider(std::variant_alternative_t<I, formulas::PassFormula>{}), ...);
    return best;
}

void add_passes(std::vector<LossTerm> terms, std::vector<LossPass>& passes) {
    while (!terms.empty()) {
        const Choice best = best_choice(terms, std::make_index_sequence<std::variant_size_v<formulas::PassFormula>>{});
        std::vector<LossTerm> rest;
        for (std::size_t i = 0; i < terms.size(); ++i)
            if (!best.taken[i]) rest.push_back(terms[i]);
        passes.push_back(best.pass);
        terms = std::move(rest);
    }
}

}  // namespace

std::vector<LossPass> loss_passes(const Loss& loss) {
    std::vector<LossPass> passes;
    std::map<float, std::vector<LossTerm>> of_warmup;
    for (const LossTerm& term : loss.terms)
        if (term.kind == TermKind::voxels) of_warmup[term.warmup_steps].push_back(term);
    for (auto& [warmup, terms] : of_warmup) add_passes(std::move(terms), passes);
    return passes;
}

}  // namespace iwseg

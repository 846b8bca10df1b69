#include "losses/loss.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <sstream>
#include <utility>

#include "base/error.h"
#include "base/nearest_name.h"
#include "losses/loss_sum.h"
#include "losses/term_names.h"

namespace iwseg {
namespace {

void require_within(const char* name, float value, const LossOptions::Range& range) {
    if (range.holds(value)) return;
    std::ostringstream text;
    text << name << " is " << value << "; expected a number from " << range.low << " to " << range.high;
    throw InputError(text.str());
}

void require_options(const LossOptions& options) {
    require_within("focal_alpha", options.focal_alpha, LossOptions::kFocalAlphaRange);
    require_within("focal_gamma", options.focal_gamma, LossOptions::kFocalGammaRange);
    require_within("asl_beta", options.asl_beta, LossOptions::kAslBetaRange);
    if (options.steps_per_epoch < 1)
        throw InputError("steps_per_epoch is " + std::to_string(options.steps_per_epoch) + "; expected 1 or more");
}

Loss loss_of(std::vector<LossTerm> terms) {
    terms = ordered_terms(std::move(terms));
    return {loss_sum_text(terms), terms};
}

[[noreturn]] void refuse(const std::string& name) {
    std::vector<std::string> words = loss_names();
    words.insert(words.end(), loss_term_names().begin(), loss_term_names().end());
    std::string all;
    for (const std::string& known : loss_names()) all += (all.empty() ? "" : ", ") + known;
    const std::string nearest = nearest_name(name, words);
    throw InputError("unknown loss '" + name + "'" + (nearest.empty() ? "" : " (nearest: '" + nearest + "')") +
                     "; expected one of " + all + ", or a sum as \"dice + ce\"");
}

}  // namespace

bool Loss::weighted() const {
    return std::any_of(terms.begin(), terms.end(), [](const LossTerm& term) { return term.weighted; });
}
bool Loss::reads_labels() const {
    return weighted() || std::any_of(terms.begin(), terms.end(), [](const LossTerm& term) {
               return term.kind != TermKind::voxels && term.kind != TermKind::hardest_voxels;
           });
}
bool Loss::warms_up() const {
    return std::any_of(terms.begin(), terms.end(), [](const LossTerm& term) { return term.warmup_steps > 0; });
}

Loss dice() {
    return loss_from_name("dice");
}
Loss iwdice() {
    return loss_from_name("iwdice");
}
Loss bce() {
    return loss_from_name("bce");
}
Loss iwbce() {
    return loss_from_name("iwbce");
}

Loss operator+(const Loss& a, const Loss& b) {
    std::vector<LossTerm> terms = a.terms;
    terms.insert(terms.end(), b.terms.begin(), b.terms.end());
    return loss_of(std::move(terms));
}

Loss operator*(float factor, const Loss& loss) {
    if (!(factor > 0) || !std::isfinite(factor))
        throw InputError("a loss is scaled by a finite factor above 0, not by " + std::to_string(factor));
    std::vector<LossTerm> terms = loss.terms;
    for (LossTerm& term : terms) term.factor *= factor;
    return loss_of(std::move(terms));
}

const std::vector<std::string>& loss_names() {
    static const std::vector<std::string> names = {"bce", "iwbce", "wce",   "dl", "iwdl",
                                                   "gdl", "asl",   "iwasl", "fl", "iwfl"};
    return names;
}

Loss loss_from_name(const std::string& name, const LossOptions& options) {
    require_options(options);
    const std::vector<std::string>& study = loss_names();
    if (std::find(study.begin(), study.end(), name) != study.end()) return {name, {*find_loss_term(name, options)}};
    if (is_loss_sum(name)) return loss_of(read_loss_sum(name, options));
    refuse(name);
}

}  // namespace iwseg

#include "losses/loss.h"

#include <map>
#include <sstream>

#include "base/error.h"
#include "base/nearest_name.h"
#include "losses/loss_sum.h"

namespace iwseg {
namespace {

void require_within(const char* name, float value, const LossOptions::Range& range) {
    if (range.holds(value)) return;
    std::ostringstream text;
    text << name << " is " << value << "; expected a number from " << range.low << " to " << range.high;
    throw InputError(text.str());
}

void require_options(const LossOptions& options) {
    require_within("focal_alpha", options.focal_alpha, LossOptions::focal_alpha_range);
    require_within("focal_gamma", options.focal_gamma, LossOptions::focal_gamma_range);
    require_within("asl_beta", options.asl_beta, LossOptions::asl_beta_range);
}

Loss loss_of(const LossTerms& terms) {
    return {loss_sum_text(terms), {.formula = LossFormula::sum, .terms = terms}, terms.iwdice != 0 || terms.iwce != 0};
}

/// Throws where the loss is no sum of base terms.
const LossTerms& terms_of(const Loss& loss) {
    if (loss.parameters.formula != LossFormula::sum)
        throw InputError("the loss " + loss.name +
                         " cannot be added up or scaled: only dice, bce, iwdice and iwbce can");
    return loss.parameters.terms;
}

}  // namespace

Loss dice() {
    return loss_of({.dice = 1});
}
Loss iwdice() {
    return loss_of({.iwdice = 1});
}
Loss bce() {
    return loss_of({.ce = 1});
}
Loss iwbce() {
    return loss_of({.iwce = 1});
}

Loss operator+(const Loss& a, const Loss& b) {
    const LossTerms &x = terms_of(a), &y = terms_of(b);
    return loss_of({x.dice + y.dice, x.iwdice + y.iwdice, x.ce + y.ce, x.iwce + y.iwce});
}

Loss operator*(float factor, const Loss& loss) {
    const LossTerms& x = terms_of(loss);
    if (!(factor > 0)) throw InputError("a loss is scaled by a factor above 0, not by " + std::to_string(factor));
    return loss_of({factor * x.dice, factor * x.iwdice, factor * x.ce, factor * x.iwce});
}

const std::vector<std::string>& loss_names() {
    static const std::vector<std::string> names = {"bce", "iwbce", "wce",   "dl", "iwdl",
                                                   "gdl", "asl",   "iwasl", "fl", "iwfl"};
    return names;
}

Loss loss_from_name(const std::string& name, const LossOptions& options) {
    require_options(options);
    const float beta2 = options.asl_beta * options.asl_beta;
    const std::map<std::string, LossParameters> plain = {
        {"bce", {.formula = LossFormula::bce}},
        {"wce", {.formula = LossFormula::wce}},
        {"dl", {.formula = LossFormula::overlap, .beta2 = 1.0f}},
        {"asl", {.formula = LossFormula::overlap, .beta2 = beta2}},
        {"gdl", {.formula = LossFormula::generalised_dice}},
        {"fl", {.formula = LossFormula::focal, .gamma = options.focal_gamma, .alpha = options.focal_alpha}},
    };
    for (const std::string& known : loss_names()) {
        if (known != name) continue;
        const bool weighted = name.starts_with("iw");
        return {name, plain.at(weighted ? name.substr(2) : name), weighted};
    }
    if (is_loss_sum(name)) return loss_of(read_loss_sum(name));
    std::vector<std::string> words = loss_names();
    words.insert(words.end(), loss_term_names().begin(), loss_term_names().end());
    std::string all;
    for (const std::string& known : loss_names()) all += (all.empty() ? "" : ", ") + known;
    const std::string nearest = nearest_name(name, words);
    throw InputError("unknown loss '" + name + "'" + (nearest.empty() ? "" : " (nearest: '" + nearest + "')") +
                     "; expected one of " + all + ", or a sum as \"dice + ce\"");
}

}  // namespace iwseg

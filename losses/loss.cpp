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

}  // namespace

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
    if (is_loss_sum(name)) {
        const LossTerms terms = read_loss_sum(name);
        return {
            loss_sum_text(terms), {.formula = LossFormula::sum, .terms = terms}, terms.iwdice != 0 || terms.iwce != 0};
    }
    std::vector<std::string> words = loss_names();
    words.insert(words.end(), loss_term_names().begin(), loss_term_names().end());
    std::string all;
    for (const std::string& known : loss_names()) all += (all.empty() ? "" : ", ") + known;
    const std::string nearest = nearest_name(name, words);
    throw InputError("unknown loss '" + name + "'" + (nearest.empty() ? "" : " (nearest: '" + nearest + "')") +
                     "; expected one of " + all + ", or a sum as \"dice + ce\"");
}

}  // namespace iwseg

#include "losses/loss.h"

#include <map>

#include "engine/nearest_name.h"
#include "kernels/error.h"
#include "losses/loss_sum.h"

namespace iwseg {
namespace {

void require_options(const LossOptions& options) {
    if (!(options.focal_alpha >= 0 && options.focal_alpha <= 1))
        throw InputError("focal_alpha is " + std::to_string(options.focal_alpha) + "; expected a number from 0 to 1");
    if (!(options.focal_gamma >= 0 && options.focal_gamma <= 100))
        throw InputError("focal_gamma is " + std::to_string(options.focal_gamma) + "; expected a number from 0 to 100");
    if (!(options.asl_beta > 0 && options.asl_beta <= 100))
        throw InputError("asl_beta is " + std::to_string(options.asl_beta) +
                         "; expected a number above 0, at most 100");
}

}  // namespace

const std::vector<std::string>& loss_names() {
    static const std::vector<std::string> names = {"bce", "iwbce", "wce", "dl",   "iwdl",
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

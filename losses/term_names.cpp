#include "losses/term_names.h"

#include <algorithm>
#include <string_view>
#include <variant>

namespace iwseg {
namespace {

using formulas::Formula;

/// A term's names, the first of which is written.
struct Row {
    std::string_view name, also;
    Formula (*formula)(const LossOptions&);
};

/// In the order that sums are written in.
constexpr Row kRows[] = {
    {"dice", "", [](const LossOptions&) { return Formula(formulas::SoftDice{}); }},
    {"ce", "bce", [](const LossOptions&) { return Formula(formulas::CrossEntropy{}); }},
    {"wce", "", [](const LossOptions&) { return Formula(formulas::BalancedCrossEntropy{}); }},
    {"dl", "", [](const LossOptions&) { return Formula(formulas::Overlap{}); }},
    {"gdl", "", [](const LossOptions&) { return Formula(formulas::GeneralisedDice{}); }},
    {"asl", "", [](const LossOptions& o) { return Formula(formulas::Overlap{o.asl_beta * o.asl_beta}); }},
    {"fl", "",
     [](const LossOptions& o) {
         return o.focal_gamma == 2.0f ? Formula(formulas::Focal<true>{o.focal_alpha})
                                      : Formula(formulas::Focal<false>{o.focal_alpha, o.focal_gamma});
     }},
    {"tversky", "", [](const LossOptions&) { return Formula(formulas::Tversky{}); }},
};

bool weightable(const Formula& formula) {
    return std::visit([](const auto& f) { return f.kWeightable; }, formula);
}

std::vector<std::string> all_names() {
    std::vector<std::string> names, others;
    for (const Row& row : kRows) {
        const bool weighted = weightable(row.formula({}));
        names.emplace_back(row.name);
        if (weighted) names.push_back("iw" + std::string(row.name));
        if (row.also.empty()) continue;
        others.emplace_back(row.also);
        if (weighted) others.push_back("iw" + std::string(row.also));
    }
    names.insert(names.end(), others.begin(), others.end());
    return names;
}

}  // namespace

std::optional<LossTerm> find_loss_term(const std::string& name, const LossOptions& options) {
    const std::vector<std::string>& known = loss_term_names();
    if (std::find(known.begin(), known.end(), name) == known.end()) return std::nullopt;
    for (const Row& row : kRows)
        for (const std::string prefix : {"", "iw"})
            if (name == prefix + std::string(row.name) || (!row.also.empty() && name == prefix + std::string(row.also)))
                return LossTerm{prefix + std::string(row.name), row.formula(options), !prefix.empty()};
    return std::nullopt;
}

const std::vector<std::string>& loss_term_names() {
    static const std::vector<std::string> names = all_names();
    return names;
}

}  // namespace iwseg

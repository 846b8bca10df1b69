#include "apps/training/validation_score.h"

#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>

#include "evaluation/froc.h"

namespace iwseg {

bool ValidationScore::better_than(const ValidationScore& other) const {
    return std::tuple(average_recall.value_or(0), dice) > std::tuple(other.average_recall.value_or(0), other.dice);
}

void ValidationScore::set_recall(const Records& records) {
    lesions = static_cast<std::int64_t>(lesion_diameters(records, SizeUnit::voxels).size());
    if (lesions == 0) return;
    FrocOptions options;
    options.strata = 1;
    options.draws = 1;  // no interval is wanted
    const Froc froc = compute_froc(records, options);
    average_recall = froc.average_recall.value;
    for (const Estimate& at : froc.sensitivity) sensitivity.push_back(at.value);
}

nlohmann::json validation_line(const ValidationScore& score, std::int64_t epoch, bool best) {
    nlohmann::json validation{{"scans", score.scans},     {"lesions", score.lesions},
                              {"dice", score.dice},       {"sensitivity", score.sensitivity},
                              {"loss", score.loss},       {"seconds", score.seconds},
                              {"average_recall", nullptr}};
    if (score.average_recall) validation["average_recall"] = *score.average_recall;
    for (const ValidationScore::OfClass& one : score.classes) {
        nlohmann::json& own = validation["classes"][one.name];
        own = {{"lesions", one.lesions}, {"average_recall", nullptr}, {"dice", one.dice}};
        if (one.average_recall) own["average_recall"] = *one.average_recall;
    }
    return {{"step", score.step}, {"epoch", epoch}, {"validation", std::move(validation)}, {"best", best}};
}

std::optional<ValidationScore> parse_validation_line(const nlohmann::json& line) {
    if (!line.is_object() || !line.contains("validation")) return std::nullopt;
    const nlohmann::json& validation = line["validation"];
    ValidationScore score;
    try {
        line.at("step").get_to(score.step);
        validation.at("scans").get_to(score.scans);
        validation.at("lesions").get_to(score.lesions);
        validation.at("sensitivity").get_to(score.sensitivity);
        validation.at("dice").get_to(score.dice);
        // JSON has no number for a loss that is none.
        const nlohmann::json& loss = validation.at("loss");
        score.loss = loss.is_number() ? loss.get<double>() : std::numeric_limits<double>::quiet_NaN();
        validation.at("seconds").get_to(score.seconds);
        if (validation.at("average_recall").is_number())
            score.average_recall = validation["average_recall"].get<double>();
        if (validation.contains("classes"))
            for (const auto& [name, own] : validation["classes"].items()) {
                score.classes.push_back(
                    {name, own.at("lesions").get<std::int64_t>(), {}, own.at("dice").get<double>()});
                if (own.at("average_recall").is_number())
                    score.classes.back().average_recall = own["average_recall"].get<double>();
            }
    } catch (const nlohmann::json::exception&) {
        return std::nullopt;
    }
    return score;
}

std::vector<ValidationScore> read_validation_scores(const std::filesystem::path& log) {
    std::vector<ValidationScore> scores;
    std::ifstream in(log);
    for (std::string line; std::getline(in, line);)
        if (const auto score = parse_validation_line(nlohmann::json::parse(line, nullptr, false)))
            scores.push_back(*score);
    return scores;
}

const ValidationScore* best_of(const std::vector<ValidationScore>& scores) {
    const ValidationScore* best = nullptr;
    for (const ValidationScore& score : scores)
        if (score.average_recall && (!best || score.better_than(*best))) best = &score;
    return best;
}

}  // namespace iwseg

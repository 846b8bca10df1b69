#include "studies/dataset_files.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>

#include "base/atomic_file.h"
#include "data/dataset.h"

namespace iwseg {
namespace {

using nlohmann::ordered_json;

/// The study's own bounds of small lesions are among them: 8 for LUNA16, 12 for LiTS.
const std::vector<double> kDiameterBounds{3, 5, 8, 12, 20, 30};

struct Totals {
    std::int64_t counted = 0, components = 0, scans_with_lesions = 0;
};

Totals totals_of(const std::vector<CaseRecord>& cases) {
    Totals totals;
    for (const CaseRecord& record : cases) {
        totals.counted += record.lesion_count;
        totals.components += static_cast<std::int64_t>(record.component_voxels.size());
        totals.scans_with_lesions += !record.component_voxels.empty();
    }
    return totals;
}

ordered_json dataset_json(const Study& study, const std::vector<CaseRecord>& cases) {
    ordered_json channels = ordered_json::object(), counts = ordered_json::object();
    const std::vector<std::string> names = study.channels();
    for (std::size_t c = 0; c < names.size(); ++c) channels[std::to_string(c)] = names[c];
    for (const CaseRecord& record : cases) counts[record.name] = record.lesion_count;
    return {{"name", study.name()},        {"description", study.name() + ", made by iwseg prepare"},
            {"channel_names", channels},   {"labels", {{"background", 0}, {study.lesion(), 1}}},
            {"numTraining", cases.size()}, {"file_ending", ".nii.gz"},
            {"study", study.name()},       {"lesion_counts", counts}};
}

std::map<std::string, Split> splits_of(const Study& study, const std::vector<CaseRecord>& cases) {
    std::map<std::string, int> parts;
    for (const CaseRecord& record : cases) parts[record.name] = record.part;
    return study.splits(parts);
}

ordered_json splits_json(const Study& study, const std::vector<CaseRecord>& cases) {
    ordered_json json = ordered_json::object();
    for (const auto& [name, split] : splits_of(study, cases))
        json[name] = {{"train", split.train}, {"validation", split.validation}, {"test", split.test}};
    return json;
}

ordered_json preparation_json(const Study& study, const PreparationResult& result) {
    const Totals totals = totals_of(result.cases);
    const SizeHistogram sizes = size_histogram(result.cases);
    ordered_json cases = ordered_json::object();
    for (const CaseRecord& record : result.cases) cases[record.name] = facts_of(record);
    return {{"study", study.name()},
            {"scans", result.cases.size()},
            {"scans_with_lesions", totals.scans_with_lesions},
            {"lesion_count", totals.counted},
            {"components", totals.components},
            {"diameter_bounds", sizes.bounds},
            {"components_by_mm", sizes.in_mm},
            {"components_by_voxels", sizes.in_voxels},
            {"left_out", result.left_out},
            {"excluded", result.excluded},
            {"notes", study.notes()},
            {"cases", cases}};
}

std::string histogram_table(const SizeHistogram& sizes) {
    std::string heading = "diameter ", mm = "in mm    ", voxels = "in voxels";
    for (std::size_t b = 0; b < sizes.in_mm.size(); ++b) {
        const bool first = b == 0, last = b == sizes.bounds.size();
        heading += fmt::format("{:>7}", first  ? fmt::format("< {}", sizes.bounds[0])
                                        : last ? fmt::format("{} +", sizes.bounds[b - 1])
                                               : fmt::format("{}-{}", sizes.bounds[b - 1], sizes.bounds[b]));
        mm += fmt::format("{:>7}", sizes.in_mm[b]);
        voxels += fmt::format("{:>7}", sizes.in_voxels[b]);
    }
    return heading + "\n" + mm + "\n" + voxels + "\n";
}

}  // namespace

SizeHistogram size_histogram(const std::vector<CaseRecord>& cases) {
    const std::size_t bins = kDiameterBounds.size() + 1;
    SizeHistogram sizes{kDiameterBounds, std::vector<std::int64_t>(bins), std::vector<std::int64_t>(bins)};
    const auto bin_of = [](double volume) {
        const double diameter = std::cbrt(6 * volume / std::numbers::pi);
        return std::upper_bound(kDiameterBounds.begin(), kDiameterBounds.end(), diameter) - kDiameterBounds.begin();
    };
    for (const CaseRecord& record : cases)
        for (const std::int64_t size : record.component_voxels) {
            const auto voxels = static_cast<double>(size);
            ++sizes.in_voxels[bin_of(voxels)];
            ++sizes.in_mm[bin_of(voxels * record.spacing[0] * record.spacing[1] * record.spacing[2])];
        }
    return sizes;
}

void write_dataset_files(const std::filesystem::path& dataset, const Study& study, const PreparationResult& result) {
    write_text(splits_file(dataset), splits_json(study, result.cases).dump(2) + "\n");
    write_text(dataset / "preparation.json", preparation_json(study, result).dump(2) + "\n");
    write_text(description_file(dataset), dataset_json(study, result.cases).dump(2) + "\n");
}

std::string preparation_summary(const Study& study, const PreparationResult& result) {
    const Totals totals = totals_of(result.cases);
    std::string text =
        fmt::format("{}: {} scans, {} {}s counted; {} components in {} scans\n", study.name(), result.cases.size(),
                    totals.counted, study.lesion(), totals.components, totals.scans_with_lesions);
    text += histogram_table(size_histogram(result.cases));
    for (const auto& [name, split] : splits_of(study, result.cases))
        text += fmt::format("split {}: {} to train, {} to validate, {} to test\n", name, split.train.size(),
                            split.validation.size(), split.test.size());
    for (const std::string& note : study.notes()) text += fmt::format("note: {}\n", note);
    for (const CaseRecord& record : result.cases)
        for (const std::string& note : record.notes) text += fmt::format("note on {}: {}\n", record.name, note);
    if (!result.excluded.empty()) text += fmt::format("excluded by --exclude: {} scans\n", result.excluded.size());
    for (const auto& [name, reason] : result.left_out) text += fmt::format("left out {}: {}\n", name, reason);
    return text;
}

}  // namespace iwseg

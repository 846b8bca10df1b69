#include "evaluation/scan_sets.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "base/some_names.h"

namespace iwseg {
namespace {

std::vector<double> diameters_of(const std::vector<Record>& records) {
    std::vector<double> diameters;
    for (const Record& record : records)
        if (record.is_tum) diameters.push_back(record.diameter);
    return diameters;
}

bool same_lesions(const std::vector<Record>& a, const std::vector<Record>& b) {
    const std::vector<double> of_a = diameters_of(a), of_b = diameters_of(b);
    return std::equal(of_a.begin(), of_a.end(), of_b.begin(), of_b.end(),
                      [](double x, double y) { return std::abs(x - y) <= 1e-6 * x; });  // files may round
}

}  // namespace

ScanSets compare_scans(const std::vector<const Records*>& methods) {
    std::set<std::string> any;
    for (const Records* records : methods)
        for (const auto& [scan, list] : *records) any.insert(scan);
    ScanSets sets;
    sets.in_any = static_cast<std::int64_t>(any.size());
    sets.missing.resize(methods.size());
    for (const std::string& scan : any) {
        const std::vector<Record>* first = nullptr;
        bool everywhere = true, same = true;
        for (std::size_t m = 0; m < methods.size(); ++m) {
            const auto found = methods[m]->find(scan);
            if (found == methods[m]->end()) {
                everywhere = false;
                sets.missing[m].push_back(scan);
            } else if (first == nullptr) {
                first = &found->second;
            } else {
                same = same && same_lesions(*first, found->second);
            }
        }
        sets.in_all += everywhere;
        if (!same) sets.other_lesions.push_back(scan);
    }
    return sets;
}

std::string describe_differences(const ScanSets& sets, const std::vector<std::string>& names) {
    std::string text;
    if (sets.in_any != sets.in_all) {
        text += fmt::format("Not the same scans: {} of {} are in all records, so the figures cannot be compared",
                            sets.in_all, sets.in_any);
        for (std::size_t m = 0; m < names.size(); ++m)
            if (!sets.missing[m].empty())
                text +=
                    fmt::format("; {} lacks {} ({})", names[m], sets.missing[m].size(), some_names(sets.missing[m]));
        text += ".\n";
    }
    if (!sets.other_lesions.empty())
        text += fmt::format("Not the same lesions in {} scans ({}): they were evaluated against other targets.\n",
                            sets.other_lesions.size(), some_names(sets.other_lesions));
    return text;
}

}  // namespace iwseg

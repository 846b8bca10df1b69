#include "evaluation/candidates.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <unordered_map>
#include <unordered_set>

#include "base/error.h"
#include "evaluation/csv.h"

namespace iwseg {
namespace {

/// Reads scan and position of every row, and one more number.
template <class Item>
std::vector<Item> read_items(const std::filesystem::path& file, const char* number_column, double Item::*number) {
    const CsvTable table = read_csv(file);
    const std::size_t scan = table.column("seriesuid"), last = table.column(number_column);
    const std::array<std::size_t, 3> place{table.column("coordX"), table.column("coordY"), table.column("coordZ")};
    std::vector<Item> items;
    for (std::size_t r = 1; r < table.rows.size(); ++r) {
        const CsvTable::Row& row = table.rows[r];
        Item item;
        item.scan = table.value(row, scan);
        if (item.scan.empty())
            throw InputError(
                fmt::format("{}, line {}, names no scan in the column seriesuid", file.string(), row.line));
        for (int axis = 0; axis < 3; ++axis) item.position[axis] = table.number(row, place[axis]);
        item.*number = table.number(row, last);
        items.push_back(std::move(item));
    }
    return items;
}

double square(double value) {
    return value * value;
}

bool hits(const Candidate& candidate, const Finding& finding) {
    const double diameter = finding.diameter < 0 ? 10 : finding.diameter;
    return square(finding.position[0] - candidate.position[0]) + square(finding.position[1] - candidate.position[1]) +
               square(finding.position[2] - candidate.position[2]) <
           square(diameter / 2);
}

/// What there is of one scan.
struct ScanLists {
    std::vector<const Candidate*> candidates;
    std::vector<const Finding*> nodules, excluded;
};

class Matcher {
  public:
    explicit Matcher(const std::vector<std::string>& scans) : lists_(scans.size()) {
        for (std::size_t s = 0; s < scans.size(); ++s) number_.emplace(scans[s], s);
        matches_.nodules.resize(scans.size());
    }

    /// The lists of a scan; null where it is not evaluated.
    ScanLists* of(const std::string& scan) {
        const auto place = number_.find(scan);
        return place == number_.end() ? nullptr : &lists_[place->second];
    }

    CandidateMatches match(std::int64_t most) {
        for (std::size_t s = 0; s < lists_.size(); ++s) {
            if (most > 0) limit(lists_[s].candidates, static_cast<std::size_t>(most));
            match_scan(lists_[s], static_cast<std::uint32_t>(s));
        }
        std::stable_sort(matches_.events.begin(), matches_.events.end(),
                         [](const auto& a, const auto& b) { return a.probability > b.probability; });
        return std::move(matches_);
    }

  private:
    void limit(std::vector<const Candidate*>& candidates, std::size_t most) {
        if (candidates.size() <= most) return;
        std::vector<double> probabilities;
        for (const Candidate* candidate : candidates) probabilities.push_back(candidate->probability);
        std::nth_element(probabilities.begin(), probabilities.begin() + most, probabilities.end(), std::greater<>());
        const double first_left_out = probabilities[most];
        matches_.over_limit += std::erase_if(
            candidates, [&](const Candidate* candidate) { return candidate->probability <= first_left_out; });
    }

    void match_scan(const ScanLists& lists, std::uint32_t scan) {
        std::vector<bool> used(lists.candidates.size());
        matches_.candidates += static_cast<std::int64_t>(lists.candidates.size());
        matches_.nodules[scan] = static_cast<std::int64_t>(lists.nodules.size());
        for (const Finding* nodule : lists.nodules) {
            std::int64_t hit = 0;
            double largest = 0;
            for (std::size_t c = 0; c < used.size(); ++c) {
                if (!hits(*lists.candidates[c], *nodule)) continue;
                largest =
                    hit++ ? std::max(largest, lists.candidates[c]->probability) : lists.candidates[c]->probability;
                used[c] = true;
            }
            if (hit == 0) continue;
            matches_.events.push_back({largest, scan, true});
            ++matches_.found;
            matches_.repeated += hit - 1;
        }
        for (std::size_t c = 0; c < used.size(); ++c) {
            if (used[c]) continue;
            if (std::any_of(lists.excluded.begin(), lists.excluded.end(),
                            [&](const Finding* finding) { return hits(*lists.candidates[c], *finding); })) {
                ++matches_.on_excluded;
                continue;
            }
            matches_.events.push_back({lists.candidates[c]->probability, scan, false});
            ++matches_.false_positives;
        }
    }

    std::unordered_map<std::string, std::size_t> number_;
    std::vector<ScanLists> lists_;
    CandidateMatches matches_;
};

}  // namespace

std::vector<Candidate> read_candidates(const std::filesystem::path& file) {
    return read_items(file, "probability", &Candidate::probability);
}

std::vector<Finding> read_findings(const std::filesystem::path& file) {
    return read_items(file, "diameter_mm", &Finding::diameter);
}

std::vector<std::string> read_scan_names(const std::filesystem::path& file) {
    const CsvTable table = read_csv(file);
    std::vector<std::string> names;
    std::unordered_set<std::string> seen;
    for (const CsvTable::Row& row : table.rows) {
        const std::string& name = row.values.front();
        if (&row == &table.rows.front() && name == "seriesuid") continue;
        if (name.empty()) throw InputError(fmt::format("{}, line {}, begins with no scan", file.string(), row.line));
        if (!seen.insert(name).second)
            throw InputError(fmt::format("{}, line {}, names the scan {} again; expected each scan once", file.string(),
                                         row.line, name));
        names.push_back(name);
    }
    if (names.empty()) throw InputError(file.string() + " names no scan; expected one a line");
    return names;
}

std::int64_t CandidateMatches::all_nodules() const {
    return std::accumulate(nodules.begin(), nodules.end(), std::int64_t{0});
}

CandidateMatches match_candidates(const std::vector<Candidate>& candidates, const CandidateTruth& truth,
                                  std::int64_t most) {
    Matcher matcher(truth.scans);
    std::int64_t elsewhere = 0;
    for (const Candidate& candidate : candidates) {
        if (ScanLists* lists = matcher.of(candidate.scan))
            lists->candidates.push_back(&candidate);
        else
            ++elsewhere;
    }
    for (const Finding& nodule : truth.nodules)
        if (ScanLists* lists = matcher.of(nodule.scan)) lists->nodules.push_back(&nodule);
    for (const Finding& finding : truth.excluded)
        if (ScanLists* lists = matcher.of(finding.scan)) lists->excluded.push_back(&finding);
    CandidateMatches matches = matcher.match(most);
    matches.elsewhere = elsewhere;
    if (matches.all_nodules() == 0)
        throw InputError(fmt::format("none of the {} nodules lies in one of the {} scans evaluated",
                                     truth.nodules.size(), truth.scans.size()));
    if (!candidates.empty() && elsewhere == static_cast<std::int64_t>(candidates.size()))
        throw InputError(
            fmt::format("none of the {} candidates lies in one of the {} scans evaluated; the first names {}",
                        candidates.size(), truth.scans.size(), candidates.front().scan));
    return matches;
}

}  // namespace iwseg

#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace iwseg {

/// A mark of a detector: where, and how sure it is.
struct Candidate {
    std::string scan;                  ///< SeriesInstanceUID
    std::array<double, 3> position{};  ///< mm, x, y, z of the world
    double probability = 0;            ///< any finite number; only the order counts
};

/// A nodule, or something that is neither nodule nor false positive.
struct Finding {
    std::string scan;
    std::array<double, 3> position{};
    double diameter = 0;  ///< mm; below 0: unknown, taken as 10
};

/// Columns seriesuid, coordX, coordY, coordZ, probability, in any order, among others. Throws InputError naming the
/// file, and the line where a number is none.
std::vector<Candidate> read_candidates(const std::filesystem::path& file);
/// Columns seriesuid, coordX, coordY, coordZ, diameter_mm. Throws as read_candidates.
std::vector<Finding> read_findings(const std::filesystem::path& file);
/// The first value of each line; a first line "seriesuid" is a header. Throws InputError where a scan is named twice.
std::vector<std::string> read_scan_names(const std::filesystem::path& file);

/// What a detector is compared with.
struct CandidateTruth {
    std::vector<std::string> scans;  ///< only these are evaluated
    std::vector<Finding> nodules;
    std::vector<Finding> excluded;  ///< candidates on them are ignored
};

/// The candidates of the scans evaluated, matched to findings as LUNA16's evaluation script
/// (noduleCADEvaluationLUNA16.py) does: a candidate hits a finding where it lies nearer to its centre than half its
/// diameter. A nodule counts with the largest probability that hits it; its other candidates, and those on excluded
/// findings, are ignored. One candidate may find two nodules.
struct CandidateMatches {
    struct Event {
        double probability = 0;
        std::uint32_t scan = 0;  ///< index into the scans evaluated
        bool is_nodule = false;  ///< else a false positive
    };
    std::vector<Event> events;          ///< the most probable first
    std::vector<std::int64_t> nodules;  ///< of each scan
    std::int64_t candidates = 0;        ///< of the scans evaluated, after the limit
    std::int64_t found = 0, false_positives = 0, on_excluded = 0, repeated = 0;
    std::int64_t over_limit = 0;  ///< left out as too many in their scan
    std::int64_t elsewhere = 0;   ///< candidates of scans that are not evaluated

    std::int64_t all_nodules() const;
};

/// most: candidates a scan, the most probable kept; all that are as probable as the first one left out go too, as in
/// the script; 0 is no limit. Throws InputError where no nodule lies in the scans, or none of the candidates does.
CandidateMatches match_candidates(const std::vector<Candidate>& candidates, const CandidateTruth& truth,
                                  std::int64_t most = 100);

}  // namespace iwseg

#pragma once

#include <string>

namespace iwseg {

struct ReportData;

/// What the second run finds of the smaller half of the lesions, and the first, each at a threshold of its own that
/// lets through kComparisonRate false positives a scan (read off the FROC of both), and what either reaches in Dice of
/// scans. The first sentence says whether the second run finds more, no more, or more by what may be chance (95 %
/// intervals that overlap); one is added of each run whose FROC ends below that rate, and so may have more to find.
/// `what` is the subject of that sentence, "Inverse weighting". Empty unless there are two runs with lesions of two
/// sizes.
std::string equal_rate_sentences(const ReportData& data, const std::string& what);

}  // namespace iwseg

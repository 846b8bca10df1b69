#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "evaluation/records.h"

namespace iwseg {

/// Whether the records of several methods are of the same scans and lesions: only then can figures be compared.
struct ScanSets {
    std::int64_t in_any = 0, in_all = 0;            ///< scans that some method has, that every one has
    std::vector<std::vector<std::string>> missing;  ///< of each method, the scans that another has; sorted
    std::vector<std::string> other_lesions;  ///< scans whose lesions differ between methods that have them; sorted

    bool agree() const { return in_any == in_all && other_lesions.empty(); }
};

ScanSets compare_scans(const std::vector<const Records*>& methods);

/// In sentences, a line each, what differs; empty where all agree. names: of the methods, in their order.
std::string describe_differences(const ScanSets& sets, const std::vector<std::string>& names);

}  // namespace iwseg

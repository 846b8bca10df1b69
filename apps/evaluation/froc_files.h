#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "evaluation/froc.h"

namespace iwseg {

struct NamedFroc {
    std::string name;
    Froc froc;
    std::vector<std::string> missing_scans = {}, other_lesions = {};  ///< of ScanSets, beside the other methods
};

/// "0.677 [0.590, 0.760]", the bounds of its 95 % interval where there is one.
std::string with_interval(const Estimate& estimate);
/// {NAME: {object_dice, object_dice_std, avg_recall, avg_recall_std, luna_score, luna_score_std, scans, lesions, …}}.
std::string froc_json(const std::vector<NamedFroc>& frocs, FrocProtocol protocol);
/// All lesions: one curve a name.
std::string froc_chart(const std::vector<NamedFroc>& frocs, const std::string& title);
/// The lesions of one size; nothing that has no such stratum.
std::string stratum_chart(const std::vector<NamedFroc>& frocs, std::size_t stratum, const std::string& title);
/// One line a name, for a terminal.
std::string froc_table(const std::vector<NamedFroc>& frocs, FrocProtocol protocol);

}  // namespace iwseg

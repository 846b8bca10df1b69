#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "apps/report/report.h"
#include "data/label_classes.h"

namespace iwseg {

/// A page of several classes: a line for each with what was found of it, and their means, from the records that each
/// run has of each class; and beside it, as classes/CLASS/report.html, the whole report of each class by itself.
/// summary: link to the page of all experiments; empty: none. Returns the lines as text for a terminal. Throws
/// InputError as write_report.
std::string write_class_report(const std::filesystem::path& dataset, const std::vector<RunForReport>& runs,
                               const std::vector<LabelClass>& classes, const std::filesystem::path& html,
                               const std::string& summary = "");

}  // namespace iwseg

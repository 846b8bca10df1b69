#pragma once

#include <filesystem>
#include <vector>

#include "apps/experiments/experiments.h"

namespace iwseg {

/// Throws InputError, naming two of them, where experiments tell other classes or regions apart: no table would hold
/// both.
void require_same_classes(const std::vector<Experiment>& experiments);

/// Whether an experiment has been evaluated, in its run folder.
bool is_evaluated(const std::filesystem::path& run);

/// Of experiments of several classes or regions, those that have records of each: writes experiments.html, a line for
/// each class and experiment (apps/report/class_report.h), with classes/CLASS/report.html beside; prints the same line
/// by line. data: the dataset's folder.
void write_class_summary(const std::filesystem::path& data, const std::filesystem::path& out,
                         const std::vector<Experiment>& experiments);

}  // namespace iwseg

#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "apps/config/config.h"
#include "apps/prediction/operating_point.h"
#include "apps/report/report.h"
#include "apps/training/validation_score.h"
#include "data/dataset.h"
#include "data/preparation.h"
#include "evaluation/froc.h"
#include "evaluation/metrics.h"
#include "evaluation/records.h"

namespace iwseg {

/// One step's line of log.jsonl.
struct LoggedStep {
    double step = 0, loss = 0, rate = 0, seconds = 0, wait = 0;
};

/// A run as the report shows it.
struct ReportRun {
    std::string name;
    std::filesystem::path folder;
    Config config;
    std::vector<LoggedStep> log;                         ///< empty where there is none
    std::vector<ValidationScore> validation = {};        ///< passes over validation scans, in the order of steps
    std::optional<OperatingPoint> operating_point = {};  ///< by which its masks are made; none: probability > 0.5
    Records records;
    Froc froc;                        ///< with the smaller and the larger half of the lesions as strata
    std::vector<SizeStratum> groups;  ///< about four groups of lesions by size, smallest first
    LesionCounts counts;              ///< over all scans, of the records: detections of probability > 0.5
};

/// What one run predicted in a scan.
struct ReportPrediction {
    bool present = false;  ///< a mask was read
    ComponentList detections;
    std::vector<bool> lesion_found;     ///< of ReportCase::lesions
    std::vector<bool> detection_false;  ///< of detections
    double dice = 0;                    ///< of the whole masks; 1 where both are empty
};

/// One scan with what every run made of it.
struct ReportCase {
    std::string name;
    Geometry geometry;
    ComponentList lesions;
    std::vector<ReportPrediction> predictions;  ///< one a run

    std::int64_t misses() const;           ///< summed over runs
    std::int64_t false_positives() const;  ///< summed over runs
};

/// Everything but the images, which are read as they are shown.
struct ReportData {
    Dataset dataset;
    std::vector<ReportRun> runs;
    std::string summary = {};       ///< link to the page of all experiments that this one is of; empty: none
    std::vector<ReportCase> cases;  ///< worst first: most misses, then most false positives, then by name
    std::string finding = {};       ///< what the page begins with, plain text; empty: nothing
    std::string of_class = {};      ///< name of the class that alone is lesion here; empty: lesions are of no class

    /// Of the masks, over the scans that have one.
    double mean_dice(std::size_t run) const;          ///< NaN where there is none
    LesionCounts mask_counts(std::size_t run) const;  ///< without those of small lesions
};

/// of_class: one of several classes, whose results alone are read (RunFiles::of_class), and the labels CASE as masks.
/// Throws InputError as write_report does.
ReportData read_report_data(const std::filesystem::path& dataset, const std::vector<RunForReport>& runs,
                            const LabelClass* of_class = nullptr);

}  // namespace iwseg

#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace iwseg {

/// One trained and evaluated network in a report. The folder holds config.toml, log.jsonl, records.json, split.json and
/// predictions/CASE_{mask,prob}.nii.gz; what is absent leaves its part of the report out.
struct RunForReport {
    std::string name;           ///< as in legends, for example the loss
    std::filesystem::path run;  ///< the run folder
};

/// Writes one HTML page that needs nothing beside it: training curves, FROC, recall by lesion size, the weight of each
/// lesion and slices of the scans, worst cases first, the runs side by side. Cases are those of the runs' records.json,
/// scans and labels are read from the dataset. Written atomically.
/// Throws InputError, naming the file, where a run has no records.json or a file cannot be read, and where no run is
/// given.
void write_report(const std::filesystem::path& dataset, const std::vector<RunForReport>& runs,
                  const std::filesystem::path& html);

struct ReportData;
/// The same from what read_report_data (apps/report/report_data.h) gave.
void write_report(const ReportData& data, const std::filesystem::path& html);

}  // namespace iwseg

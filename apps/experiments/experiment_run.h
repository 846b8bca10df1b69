#pragma once

#include <filesystem>
#include <string>

#include "apps/config/config.h"
#include "apps/run_folder/run_folder.h"
#include "engine/context.h"

namespace iwseg {

/// Trains, predicts the scans to test on into predictions/, and evaluates them into records.json; a part that is there
/// and made of the files and settings of now (apps/run_folder/staleness.h) is skipped. Prints what it does, why
/// something is done anew, and the table of results.
void run_experiment(Context& context, const Config& config, const std::filesystem::path& dataset, const RunFolder& run);

/// Writes report.html of one run, called by that name, unless it is there and made of what is there now. Returns
/// whether. summary: the page of all experiments, relative to the run folder, to be linked; empty: none.
bool write_report_of_run(const std::string& name, const std::filesystem::path& dataset, const RunFolder& run,
                         const std::string& summary = "");

}  // namespace iwseg

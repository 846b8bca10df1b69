#include "apps/report/report.h"

#include <fmt/format.h>

#include "apps/chart/chart.h"
#include "apps/report/report_cases.h"
#include "apps/report/report_charts.h"
#include "apps/report/report_data.h"
#include "apps/report/report_page.h"
#include "apps/report/report_provenance.h"
#include "apps/report/report_results.h"
#include "apps/report/report_slices.h"
#include "apps/report/report_training.h"
#include "apps/run_folder/run_sessions.h"
#include "apps/version.h"
#include "base/atomic_file.h"

namespace iwseg {
namespace {

constexpr const char* kRecallText =
    R"(<p>A network gives every voxel a score. Lower the bar for what counts as a lesion and it finds more of them, but
also raises more false alarms. Each curve (FROC) shows that trade: how large a share of the lesions is found, against
false positives a scan. Higher and further to the left is better. The band is where the curve lies for 95 % of
resampled sets of scans: with few scans it is wide, and curves whose bands overlap much may differ by chance. One scan
gives no band at all, and says little.</p>)";

constexpr const char* kWeightsText =
    R"(<p>An ordinary loss counts voxels, so a large lesion outweighs a small one by the ratio of their volumes. Inverse
weighting gives each voxel of a lesion a weight inversely proportional to the lesion's size. Taken together, every
lesion then counts about the same (flat dots at the right), however small. Shown are the lesions of the scans below,
each in the middle of a training patch.</p>)";

constexpr const char* kSlicesText =
    R"(<p>The scans with most missed lesions come first. Each row is one plane of the scan, chosen for what went wrong
there. Predictions are outlined as their masks have them. Letters at the edges are the patient's sides. Point at a ring to read how large the object is.</p>)";

constexpr const char* kWordsText =
    R"(<dl>
<dt>Lesion</dt><dd>A connected component of the label; voxels that touch at a face, edge or corner belong together.</dd>
<dt>Found</dt><dd>A lesion is found by a connected component of the prediction that overlaps it by a tenth of what both cover
together, or more (intersection over union, as in PI-CAI). One blob over half the scan finds nothing.</dd>
<dt>False positive</dt><dd>A connected component of the prediction that finds no lesion, unless at least half of it lies within
one.</dd>
<dt>Smaller half</dt><dd>Lesions no larger than the median lesion.</dd>
<dt>Diameter</dt><dd>Of the ball of equal volume.</dd>
<dt>Predicted / true volume</dt><dd>Of all scans together. Above 5, lesions are met by covering the scan: no value of such a
run is shown as the best.</dd>
<dt>Mask</dt><dd>What predict writes as lesion: by the threshold and the smallest volume that were chosen on validation
scans, where there are such; else the voxels of a probability above 0.5, of which all detections of the records are.</dd>
<dt>Dice</dt><dd>Twice the shared volume divided by the sum of both volumes: 1 is a perfect match, 0 none. Of scans
and of masks: of a scan's whole mask, averaged over scans; large lesions dominate it. Of found lesions: of each with the component that hits it.</dd>
<dt>Average recall</dt><dd>Mean share of lesions found at 0 to 5 false positives a scan, with its 95 % interval over
resampled scans.</dd>
</dl>)";

std::string section(const char* heading, const std::string& content) {
    return fmt::format("<section><h2>{}</h2>{}</section>", heading, content);
}

std::string introduction(const ReportData& data) {
    const ReportRun& run = data.runs.front();
    return fmt::format(
        "<h1>{}{}</h1>{}<p class=\"lead\">{} scan{} evaluated lesion by lesion. {} lesions; those of the smaller half "
        "are "
        "at most {:.1f} {} in diameter.</p>",
        escape_html(data.dataset.name.empty() ? data.dataset.folder.filename().string() : data.dataset.name),
        data.of_class.empty() ? "" : ": " + escape_html(data.of_class),
        data.finding.empty() ? "" : "<p class=\"finding\"><b>" + escape_html(data.finding) + "</b></p>",
        data.cases.size(), data.cases.size() == 1 ? "" : "s", run.counts.lesions, run.froc.strata.front().diameter_high,
        name_of(run.froc.size_unit));
}

/// A stroke of the legend of pictures, with what it stands for.
std::string key_entry(const std::string& shape, const std::string& meaning) {
    return fmt::format(R"(<li><svg viewBox="0 0 34 20">{}</svg>{}</li>)", shape, meaning);
}

std::string slices_key(const ReportData& data) {
    std::string html = R"(<ul class="key">)" +
                       key_entry(R"(<path class="target" d="M3 10H31"/>)", "lesion as labelled") +
                       key_entry(R"(<ellipse class="missed" cx="17" cy="10" rx="13" ry="7"/>)", "missed lesion");
    for (std::size_t r = 0; r < data.runs.size(); ++r)
        html += key_entry(fmt::format(R"(<path class="halo" d="M3 10H31"/><path class="prediction" style="stroke:{}" )"
                                      R"(d="M3 10H31"/>)",
                                      chart_colour(r)),
                          "as predicted by " + escape_html(data.runs[r].name));
    return html +
           key_entry(fmt::format(R"(<ellipse class="false" style="stroke:{}" cx="17" cy="10" rx="13" ry="7"/>)",
                                 chart_colour(0)),
                     "false positive, in the run's colour") +
           "</ul>";
}

std::string footer(const ReportData& data) {
    const std::string others = data.summary.empty()
                                   ? ""
                                   : fmt::format(R"( <a href="{}">{}</a>.)", escape_html(data.summary),
                                                 data.of_class.empty() ? "All experiments" : "All classes");
    return fmt::format("<footer>Written by iwseg {} on {}. Not for clinical use.{}</footer>", kVersion,
                       utc_now().replace(10, 1, " ").substr(0, 16) + " UTC", others);
}

}  // namespace

void write_report(const std::filesystem::path& dataset, const std::vector<RunForReport>& runs,
                  const std::filesystem::path& html) {
    write_report(read_report_data(dataset, runs), html);
}

void write_report(const ReportData& data, const std::filesystem::path& html) {
    std::string body = introduction(data) + section("Results", results_table(data));
    body += section("Which lesions are found", kRecallText + recall_section(data));
    body += section("How much each lesion counts", kWeightsText + weights_section(data));
    if (const std::string curves = training_section(data); !curves.empty()) body += section("Training", curves);
    if (const std::string cases = cases_section(data); !cases.empty()) body += section("Scan by scan", cases);
    if (const std::string slices = slices_section(data); !slices.empty())
        body += section("Scans, worst first", kSlicesText + slices_key(data) + slices);
    body += section("How it was made", provenance_section(data));
    body += section("Words used here", kWordsText) + footer(data);
    write_text(html,
               html_page("iwseg: " + data.dataset.name + (data.of_class.empty() ? "" : ", " + data.of_class), body));
}

}  // namespace iwseg

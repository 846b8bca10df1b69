#include "apps/report/report.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <png.h>

#include <cmath>
#include <filesystem>
#include <random>
#include <regex>
#include <string>
#include <string_view>

#include "apps/chart/chart.h"
#include "apps/report/report_cases.h"
#include "apps/report/report_charts.h"
#include "apps/report/report_data.h"
#include "apps/report/report_page.h"
#include "apps/report/report_provenance.h"
#include "apps/report/report_results.h"
#include "apps/report/report_slices.h"
#include "apps/report/report_training.h"
#include "apps/report/slice_image.h"
#include "apps/report/slice_marks.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "base/extent.h"
#include "data/volume/volume.h"
#include "evaluation/records.h"
#include "kernels/components/detection.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

std::mt19937 fresh_random() {
    const unsigned seed = std::random_device{}();
    std::printf("seed %u\n", seed);
    return std::mt19937(seed);
}

TEST(SliceImage, PngDecodesToThePixelsGiven) {
    std::mt19937 random = fresh_random();
    const std::int64_t width = 1 + random() % 70, height = 1 + random() % 70;
    std::vector<std::uint8_t> pixels(static_cast<std::size_t>(width * height)), decoded(pixels.size());
    for (auto& pixel : pixels) pixel = static_cast<std::uint8_t>(random());
    const std::string png = grey_png(pixels, width, height);
    png_image image{};
    image.version = PNG_IMAGE_VERSION;
    ASSERT_TRUE(png_image_begin_read_from_memory(&image, png.data(), png.size()));
    EXPECT_EQ(image.width, width);
    EXPECT_EQ(image.height, height);
    image.format = PNG_FORMAT_GRAY;
    ASSERT_TRUE(png_image_finish_read(&image, nullptr, decoded.data(), 0, nullptr));
    EXPECT_EQ(decoded, pixels);
}

TEST(SliceImage, Base64IsThatOfRfc4648) {
    const std::pair<const char*, const char*> vectors[] = {{"", ""},
                                                           {"f", "Zg=="},
                                                           {"fo", "Zm8="},
                                                           {"foo", "Zm9v"},
                                                           {"foob", "Zm9vYg=="},
                                                           {"fooba", "Zm9vYmE="},
                                                           {"foobar", "Zm9vYmFy"},
                                                           {"\xff\xfe", "//4="}};
    for (const auto& [bytes, text] : vectors) EXPECT_EQ(base64(bytes), text);
}

TEST(SliceImage, OutlineOfOnePixelIsItsFourSides) {
    EXPECT_EQ(outline_path({0, 0, 0, 0, 1, 0}, 3, 2), "M1 1H2M1 2H2M1 1V2M2 1V2");
    EXPECT_EQ(outline_path({1}, 1, 1), "M0 0H1M0 1H1M0 0V1M1 0V1");
    EXPECT_EQ(outline_path({0, 0}, 2, 1), "");
}

TEST(SliceImage, OutlineIsAsLongAsTheBorder) {
    std::mt19937 random = fresh_random();
    const std::int64_t width = 1 + random() % 30, height = 1 + random() % 30;
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(width * height));
    for (auto& pixel : mask) pixel = random() % 3 == 0;
    std::int64_t border = 0, drawn = 0;
    const auto inside = [&](std::int64_t y, std::int64_t x) {
        return x >= 0 && y >= 0 && x < width && y < height && mask[y * width + x];
    };
    for (std::int64_t y = -1; y < height; ++y)
        for (std::int64_t x = -1; x < width; ++x)
            border += (inside(y, x) != inside(y + 1, x)) + (inside(y, x) != inside(y, x + 1));
    const std::string path = outline_path(mask, width, height);
    const std::regex segment("M(\\d+) (\\d+)([HV])(\\d+)");
    for (std::sregex_iterator match(path.begin(), path.end(), segment), end; match != end; ++match)
        drawn += std::stoll((*match)[4]) - std::stoll((*match)[(*match)[3] == "H" ? 1 : 2]);
    EXPECT_EQ(drawn, border);
}

/// A geometry whose file axes run along the world's axes, in mm, negative for backwards.
Geometry geometry_along(std::array<int, 3> world_of_axis, std::array<double, 3> step) {
    Geometry geometry;
    geometry.shape = {5, 6, 7};
    geometry.affine = {};
    for (int axis = 0; axis < 3; ++axis) geometry.affine[world_of_axis[axis]][axis] = step[axis];
    return geometry;
}

TEST(SliceImage, RightOfThePatientIsShownAtTheLeftAndAnteriorAtTheTop) {
    // Voxel (0, 0, k) of a right-anterior-superior scan lies left and behind: bottom right of the picture.
    const Geometry geometry = geometry_along({0, 1, 2}, {1, 1, 1});
    const SliceOrientation shown = slice_orientation(geometry);
    EXPECT_EQ(shown.across, 2);
    EXPECT_EQ(shown.width, 5);
    EXPECT_EQ(shown.height, 6);
    const SliceIndex index(geometry, shown, 3);
    EXPECT_EQ(index(shown.height - 1, shown.width - 1), 3);
    EXPECT_EQ(index(0, 0), (4 * 6 + 5) * 7 + 3);
}

TEST(SliceImage, PictureDoesNotDependOnHowTheFileOrdersItsAxes) {
    const std::array<std::array<int, 3>, 6> orders{{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}};
    for (const auto& order : orders)
        for (int signs = 0; signs < 8; ++signs) {
            const Geometry geometry =
                geometry_along(order, {signs & 1 ? -1.0 : 1.0, signs & 2 ? -1.0 : 1.0, signs & 4 ? -1.0 : 1.0});
            const SliceOrientation shown = slice_orientation(geometry);
            EXPECT_EQ(order[shown.across], 2);
            EXPECT_EQ(order[shown.right], 0);
            EXPECT_EQ(order[shown.down], 1);
            EXPECT_EQ(shown.reverse_right, !(signs >> shown.right & 1));
            EXPECT_EQ(std::string({shown.left_letter, shown.right_letter}), "RL") << "the patient's right at the left";
            EXPECT_EQ(shown.reverse_down, !(signs >> shown.down & 1));
        }
}

TEST(SliceImage, ClearlyThickestAxisIsLookedAlong) {
    const SliceOrientation sagittal = slice_orientation(geometry_along({0, 1, 2}, {5, 1, 1}));
    EXPECT_EQ(sagittal.across, 0);
    EXPECT_EQ(std::string({sagittal.left_letter, sagittal.right_letter}), "AP") << "the face to the left";
    EXPECT_EQ(slice_orientation(geometry_along({0, 1, 2}, {1, 5, 1})).across, 1);
    EXPECT_EQ(slice_orientation(geometry_along({0, 1, 2}, {1.2, 1, 1})).across, 2);
}

TEST(ReportPage, TextIsEscaped) {
    EXPECT_EQ(escape_html("<a href=\"x\">T&'</a>"), "&lt;a href=&quot;x&quot;&gt;T&amp;&#39;&lt;/a&gt;");
}

/// A dataset of two scans with two lesions each and two runs: one finds all, the other nothing in the second scan.
class Report : public ::testing::Test {
  protected:
    static constexpr std::int64_t size = 24;
    fs::path folder = fs::temp_directory_path() / fmt::format("iwseg_report_{}", std::random_device{}());

    static void fill(std::vector<float>& voxels, std::int64_t corner, std::int64_t edge, float value) {
        for (std::int64_t i = corner; i < corner + edge; ++i)
            for (std::int64_t j = corner; j < corner + edge; ++j)
                for (std::int64_t k = corner; k < corner + edge; ++k) voxels[(i * size + j) * size + k] = value;
    }
    static Volume<float> empty(float value) {
        Volume<float> volume;
        volume.geometry.shape = {size, size, size};
        volume.voxels.assign(size * size * size, value);
        return volume;
    }
    static void write_mask(const fs::path& file, const std::vector<float>& voxels) {
        Volume<std::uint8_t> mask{empty(0).geometry, {}};
        for (const float voxel : voxels) mask.voxels.push_back(voxel > 0.5f);
        write_volume(file, mask);
    }

    void SetUp() override {
        for (const char* name : {"dataset/imagesTr", "dataset/labelsTr", "careless/predictions", "careful/predictions"})
            fs::create_directories(folder / name);
        write_text(folder / "dataset/dataset.json",
                   R"({"name": "two <cubes>", "channel_names": {"0": "CT"}, "labels": {"background": 0, "lesion": 1},
                       "numTraining": 2, "file_ending": ".nii.gz"})");
        Records careful, careless;
        for (const std::string name : {"a", "b"}) {
            Volume<float> image = empty(10);
            std::vector<float> target(image.voxels.size()), nothing(image.voxels.size());
            fill(target, 3, 2, 1);
            fill(target, 12, 5, 1);
            fill(image.voxels, 3, 2, 50);
            fill(image.voxels, 12, 5, 50);
            write_volume(folder / "dataset/imagesTr" / (name + "_0000.nii.gz"), image);
            write_mask(folder / "dataset/labelsTr" / (name + ".nii.gz"), target);
            careful[name] = predict("careful", name, target, target);
            careless[name] = predict("careless", name, target, name == "b" ? nothing : target);
        }
        write_records(folder / "careful/records.json", careful);
        write_records(folder / "careless/records.json", careless);
        for (const std::string run : {"careful", "careless"}) {
            write_text(folder / run / "config.toml", "loss = \"iwdl\"\npatch = 16\n");
            write_text(folder / run / "log.jsonl",
                       "{\"step\": 1, \"loss\": 0.9}\n{\"step\": 2, \"loss\": 0.5}\n{\"step\": 3, \"lo");
        }
    }
    void TearDown() override { fs::remove_all(folder); }

    std::vector<Record> predict(const std::string& run, const std::string& name, const std::vector<float>& target,
                                const std::vector<float>& probability) {
        write_mask(folder / run / "predictions" / (name + "_mask.nii.gz"), probability);
        const std::vector<std::uint8_t> mask(target.begin(), target.end());
        return lesion_records({size, size, size, mask.data(), probability.data(), probability.data()});
    }
    std::vector<RunForReport> runs() const {
        return {{"careless", folder / "careless"}, {"careful & slow", folder / "careful"}};
    }
};

TEST_F(Report, IsOnePageThatNeedsNothingBesideIt) {
    write_report(folder / "dataset", runs(), folder / "report.html");
    const std::string page = read_text(folder / "report.html");
    EXPECT_EQ(page.rfind("<!doctype html>", 0), 0u);
    for (const char* outside : {"src=", "@import", "<link", "<script", "href=\"http", "url("})
        EXPECT_EQ(page.find(outside), std::string::npos) << outside;
    EXPECT_NE(page.find("careful &amp; slow"), std::string::npos);
    EXPECT_NE(page.find("two &lt;cubes&gt;"), std::string::npos);
    EXPECT_EQ(page.find("<cubes>"), std::string::npos);
    EXPECT_NE(page.find("data:image/png;base64,"), std::string::npos);
    // No number is none; the configurations name the key nan.
    const std::string_view key = "\nnan = ";
    for (std::size_t at = page.find("nan"); at != std::string::npos; at = page.find("nan", at + 1))
        EXPECT_EQ(page.substr(at - 1, key.size()), key) << page.substr(at - 40, 80);
}

TEST_F(Report, EveryElementOpenedIsClosedInOrder) {
    write_report(folder / "dataset", runs(), folder / "report.html");
    std::string page = read_text(folder / "report.html");
    const std::size_t style = page.find("<style>");
    page.erase(style, page.find("</style>") + 8 - style);
    std::vector<std::string> open;
    for (std::size_t at = page.find('<'); at != std::string::npos; at = page.find('<', at + 1)) {
        const std::string tag = page.substr(at + 1, page.find('>', at) - at - 1);
        const bool closing = tag.starts_with('/');
        const std::string name = tag.substr(closing, tag.find_first_of(" />", closing) - closing);
        if (name.starts_with('!') || name == "meta" || tag.ends_with('/')) continue;
        if (!closing) {
            open.push_back(name);
            continue;
        }
        ASSERT_FALSE(open.empty()) << name;
        ASSERT_EQ(open.back(), name);
        open.pop_back();
    }
    EXPECT_TRUE(open.empty());
}

TEST_F(Report, ARunHasOneColourInTablesChartsAndPictures) {
    write_report(folder / "dataset", runs(), folder / "report.html");
    const std::string page = read_text(folder / "report.html");
    for (std::size_t run = 0; run < 2; ++run) {
        EXPECT_NE(page.find("<i style=\"background:" + chart_colour(run)), std::string::npos);
        EXPECT_NE(page.find("class=\"prediction\" style=\"stroke:" + chart_colour(run)), std::string::npos);
    }
    // The curve of the second run's loss stands alone in its chart and still has the second colour.
    const std::string curves = training_section(read_report_data(folder / "dataset", runs()));
    EXPECT_NE(curves.find(chart_colour(1)), std::string::npos);
}

TEST_F(Report, HeadingsOfTablesSayWhatTheyAreOf) {
    const HtmlTable table{{"case", "Dice"}, {{"a", {{"0.5", true}}}, {"b", {{.html = "none", .is_text = true}}}}};
    EXPECT_EQ(
        html_table(table),
        "<div class=\"scroll\"><table><thead><tr><th scope=\"col\">case</th><th scope=\"col\">Dice</th></tr></thead>"
        "<tbody><tr><th scope=\"row\">a</th><td class=\"best\">0.5</td></tr>"
        "<tr><th scope=\"row\">b</th><td class=\"text\">none</td></tr></tbody></table></div>");
}

TEST_F(Report, CasesAreATableAndTheSameAsCsv) {
    const ReportData data = read_report_data(folder / "dataset", runs());
    EXPECT_EQ(cases_csv(data),
              "case,run,lesions,found,false_positives,dice,target_ml,predicted_ml\r\n"
              "b,careless,2,0,0,0.000000,0.133,0\r\n"
              "b,careful & slow,2,2,0,1.000000,0.133,0.133\r\n"
              "a,careless,2,2,0,1.000000,0.133,0.133\r\n"
              "a,careful & slow,2,2,0,1.000000,0.133,0.133\r\n");
    const std::string html = cases_section(data), link = "href=\"data:text/csv;charset=utf-8;base64,";
    const std::size_t start = html.find(link) + link.size();
    EXPECT_EQ(html.substr(start, html.find('"', start) - start), base64(cases_csv(data)));
}

TEST_F(Report, ChartsAreTablesToo) {
    const std::string html = recall_section(read_report_data(folder / "dataset", runs()));
    EXPECT_NE(html.find("<caption>Share of all lesions found</caption>"), std::string::npos);
    EXPECT_NE(html.find("<th scope=\"col\">0.125</th>"), std::string::npos) << "LUNA16's first rate";
    EXPECT_NE(html.find("<caption>Share found at 1 false positive a scan, by size</caption>"), std::string::npos);
}

TEST_F(Report, LinksToThePageOfAllExperimentsWhereItIsOneOfThem) {
    ReportData data = read_report_data(folder / "dataset", runs());
    write_report(data, folder / "alone.html");
    EXPECT_EQ(read_text(folder / "alone.html").find("All experiments"), std::string::npos);
    data.summary = "../experiments.html";
    write_report(data, folder / "one.html");
    EXPECT_NE(read_text(folder / "one.html").find("<a href=\"../experiments.html\">All experiments</a>"),
              std::string::npos);
}

TEST_F(Report, NamesThatCsvWouldMisreadAreQuoted) {
    ReportData data = read_report_data(folder / "dataset", runs());
    data.runs[0].name = "a, \"b\"";
    EXPECT_NE(cases_csv(data).find("b,\"a, \"\"b\"\"\",2,0,"), std::string::npos) << cases_csv(data);
}

TEST_F(Report, SaysHowEachRunWasMade) {
    write_text(folder / "careful/split.json", R"({"train": ["x", "y"], "validation": [], "test": ["a", "b"]})");
    write_text(
        folder / "careful/sessions.jsonl",
        "{\"begun\": \"2026-01-02T03:04:05Z\", \"version\": \"9.8.7\", \"device\": \"a card\", \"first_step\": 0, "
        "\"arena_bytes\": 2500000000}\n{\"ended\": \"2026-01-02T04:00:00Z\", \"peak_bytes\": 3500000000}\n");
    write_text(folder / "careful/config.toml", "loss = \"iwdl\"\npatch = 16\nbatch = 4\n");
    const std::string html = provenance_section(read_report_data(folder / "dataset", runs()));
    for (const char* said :
         {"2 to train, 0 to validate, 2 to test", "2026-01-02 03:04 to 2026-01-02 04:00 UTC", "9.8.7", "a card",
          "2.5 GB for a step, 3.5 GB the whole process", "differ in: batch", "not recorded"})
        EXPECT_NE(html.find(said), std::string::npos) << said << " in " << html;
}

TEST_F(Report, PicturesSayTheirSidesScaleChannelAndWindow) {
    const std::string html = slices_section(read_report_data(folder / "dataset", runs()));
    EXPECT_NE(html.find("text-anchor=\"start\">R</text>"), std::string::npos);
    EXPECT_NE(html.find("text-anchor=\"end\">L</text>"), std::string::npos);
    EXPECT_NE(html.find(">5 mm</text>"), std::string::npos) << "of 24 mm, at most a third";
    EXPECT_NE(html.find("; CT from 10 to "), std::string::npos);
}

TEST(SliceMarks, TheBarIsRoundAndAtMostAThirdOfThePicture) {
    for (const double mm : {0.7, 3.0, 6.0, 15.0, 24.0, 96.0, 160.0, 512.0}) {
        const double bar = scale_bar_mm(mm);
        EXPECT_LE(bar, mm / 3 * (1 + 1e-9));
        EXPECT_GE(bar, mm / 3 / 2.5);
    }
    EXPECT_DOUBLE_EQ(scale_bar_mm(160), 50);
}

TEST_F(Report, WorstScanComesFirst) {
    const ReportData data = read_report_data(folder / "dataset", runs());
    ASSERT_EQ(data.cases.size(), 2u);
    EXPECT_EQ(data.cases[0].name, "b");
    EXPECT_EQ(data.cases[0].misses(), 2);
    EXPECT_EQ(data.cases[1].misses(), 0);
    const std::string html = slices_section(data);
    EXPECT_LT(html.find("<h3>b</h3>"), html.find("<h3>a</h3>"));
    EXPECT_NE(html.find("missed lesion of 125 voxels"), std::string::npos);
}

TEST_F(Report, FiguresAreThoseOfTheRecordsAndMasks) {
    const ReportData data = read_report_data(folder / "dataset", runs());
    EXPECT_EQ(data.runs[0].counts.found, 2);
    EXPECT_EQ(data.runs[0].counts.small_found, 1);
    EXPECT_EQ(data.runs[1].counts.found, 4);
    EXPECT_EQ(data.runs[1].counts.lesions, 4);
    EXPECT_DOUBLE_EQ(data.mean_dice(0), 0.5);  // 1 in the first scan, 0 in the second
    EXPECT_DOUBLE_EQ(data.mean_dice(1), 1.0);
    EXPECT_EQ(data.runs[0].log.size(), 2u) << "a torn last line is left out";
}

TEST_F(Report, LinesOfRecordsAndOfMasksSayWhichTheyAre) {
    // A rule chosen on validation scans, whose mask of b has no lesion, whereas the records' detections are all there.
    write_text(folder / "careful/operating_point.json",
               operating_point_json({.rule = {0.95f, 20}, .scans = 2, .lesions = 3, .found = 2}) + "\n");
    write_mask(folder / "careful/predictions/b_mask.nii.gz", empty(0).voxels);
    const ReportData data = read_report_data(folder / "dataset", runs());
    EXPECT_EQ(data.runs[1].counts.found, 4);
    EXPECT_EQ(data.mask_counts(1).found, 2);
    EXPECT_EQ(data.mask_counts(1).lesions, 4);
    EXPECT_EQ(data.mask_counts(1).false_positives, 0);
    const std::string text = results_text(data), html = results_table(data);
    const auto line = [&](const std::string& heading) {
        const std::size_t begin = text.find(heading);
        return begin == std::string::npos ? "" : text.substr(begin, text.find('\n', begin) - begin);
    };
    EXPECT_TRUE(line("lesions found (p > 0.5)").ends_with("4 of 4")) << text;
    EXPECT_TRUE(line("lesions found in masks").ends_with("2 of 4")) << text;
    EXPECT_TRUE(line("Dice of masks").ends_with("0.500")) << text;
    EXPECT_NE(html.find("lesions found (p &gt; 0.5)"), std::string::npos) << html;
    const std::string rules =
        "Masks are made by probability > 0.5 (careless); probability > 0.95, components of at least 20 mm³ "
        "(careful & slow).";
    EXPECT_EQ(masks_sentence(data), rules);
    for (const std::string& section : {html, cases_section(data)})
        EXPECT_NE(section.find(escape_html(rules)), std::string::npos) << section;
    // Chosen on the test scans, it does not make their masks.
    write_text(folder / "careful/operating_point.json",
               operating_point_json({.rule = {0.95f, 20}, .scans = 2, .on_test_scans = true}) + "\n");
    const ReportData alike = read_report_data(folder / "dataset", runs());
    EXPECT_EQ(masks_sentence(alike), "Masks are made by probability > 0.5.");
    EXPECT_EQ(results_text(alike).find("in masks"), std::string::npos);
    EXPECT_NE(results_text(alike).find("are the voxels of a probability above 0.5"), std::string::npos);
}

TEST_F(Report, LesionsWeighWhatTheFormulaGivesInAPatchAroundThem) {
    const ReportData data = read_report_data(folder / "dataset", runs());
    const std::vector<LesionWeight> weights = lesion_weights(data.cases[0], data.runs[0].config);
    ASSERT_EQ(weights.size(), 2u);
    // The patch of 16^3 around the small lesion begins at 3 - 8 and ends before 11: the large one is outside.
    EXPECT_EQ(weights[0].voxels, 8);
    EXPECT_FLOAT_EQ(static_cast<float>(weights[0].weight), 4096.0f / (2 * 8));
    // Around the large one from 6 to 22: the small one is outside.
    EXPECT_EQ(weights[1].voxels, 125);
    EXPECT_FLOAT_EQ(static_cast<float>(weights[1].weight), 4096.0f / (2 * 125));
}

/// A scan with these lesion voxels, as the report has it.
ReportCase scan_with(const Extent& shape, const std::vector<Extent>& voxels) {
    ReportCase scan;
    scan.geometry.shape = shape;
    std::vector<std::uint8_t> mask(static_cast<std::size_t>(scan.geometry.voxels()));
    for (const auto& [d, h, w] : voxels) mask[(d * shape[1] + h) * shape[2] + w] = 1;
    scan.lesions = list_components(mask, shape, DetectionRule::connectivity);
    return scan;
}

TEST(LesionWeights, AreThoseOfTheComponentsThatTrainingFinds) {
    // Two bars of 24 voxels that meet at one end, which the patch of 8^3 around their middle does not hold.
    std::vector<Extent> bars{{4, 0, 3}, {4, 0, 4}, {4, 0, 5}};
    for (std::int64_t h = 0; h < 24; ++h) bars.insert(bars.end(), {{4, h, 2}, {4, h, 6}});
    const ReportCase scan = scan_with({8, 24, 8}, bars);
    Config config;
    config.patch = {8, 8, 8};
    const std::vector<LesionWeight> whole = lesion_weights(scan, config);
    ASSERT_EQ(whole.size(), 1u);
    EXPECT_EQ(whole[0].voxels, 16);
    EXPECT_FLOAT_EQ(static_cast<float>(whole[0].weight), 512.0f / (2 * 16));
    config.components = "patch";
    const std::vector<LesionWeight> apart = lesion_weights(scan, config);
    ASSERT_EQ(apart.size(), 2u);
    for (const LesionWeight& bar : apart) {
        EXPECT_EQ(bar.voxels, 8);
        EXPECT_FLOAT_EQ(static_cast<float>(bar.weight), 512.0f / (3 * 8));
    }
    // Two voxels that share an edge: one component of evaluation's, two of a training with connectivity 6.
    const ReportCase edge = scan_with({8, 8, 8}, {{4, 3, 3}, {4, 4, 4}});
    for (const char* components : {"volume", "patch"}) {
        config.components = components;
        config.connectivity = 26;
        EXPECT_EQ(lesion_weights(edge, config).size(), 1u);
        config.connectivity = 6;
        const std::vector<LesionWeight> two = lesion_weights(edge, config);
        ASSERT_EQ(two.size(), 2u);
        EXPECT_FLOAT_EQ(static_cast<float>(two[0].weight), 512.0f / 3);
    }
}

TEST_F(Report, OneScanHasNoIntervals) {
    for (const RunForReport& run : runs()) {
        Records records = read_records(run.run / "records.json");
        const std::vector<Record> only = records.at("a");
        records = {{"a", only}};
        write_records(run.run / "records.json", records);
    }
    const ReportData data = read_report_data(folder / "dataset", runs());
    EXPECT_EQ(results_table(data).find("–"), std::string::npos);
    EXPECT_NE(results_table(data).find("2 of 2"), std::string::npos);
}

TEST_F(Report, MissingPartsAreLeftOut) {
    fs::remove_all(folder / "careless/predictions");
    fs::remove(folder / "careless/log.jsonl");
    fs::remove(folder / "careful/config.toml");
    write_report(folder / "dataset", runs(), folder / "report.html");
    EXPECT_TRUE(fs::exists(folder / "report.html"));
}

TEST_F(Report, MissingRecordsAreNamed) {
    fs::remove(folder / "careful/records.json");
    try {
        write_report(folder / "dataset", runs(), folder / "report.html");
        FAIL() << "no error";
    } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find("records.json"), std::string::npos) << error.what();
    }
    EXPECT_FALSE(fs::exists(folder / "report.html"));
    EXPECT_THROW(write_report(folder / "dataset", {}, folder / "report.html"), InputError);
}

}  // namespace
}  // namespace iwseg

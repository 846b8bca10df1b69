#include "evaluation/records.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <random>

#include "base/error.h"
#include "engine/safetensors.h"
#include "evaluation/metrics.h"
#include "tests/support/golden.h"

namespace iwseg {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

std::filesystem::path scratch_file(const std::string& name) {
    return std::filesystem::path(testing::TempDir()) / ("iwseg_records_" + std::to_string(::getpid()) + "_" + name);
}

/// Scan of probability and logit, zero and -5 where nothing is put.
struct Scan {
    std::int64_t d, h, w;
    std::vector<std::uint8_t> target = std::vector<std::uint8_t>(d * h * w);
    std::vector<float> probability = std::vector<float>(d * h * w), logit = std::vector<float>(d * h * w, -5.0f);

    std::vector<Record> records() const {
        return lesion_records({d, h, w, target.data(), probability.data(), logit.data()});
    }
    void detect(std::int64_t voxel, float z) {
        logit[voxel] = z;
        probability[voxel] = 1.0f / (1.0f + std::exp(-z));
    }
};

void expect_equal(const Record& expected, const Record& record) {
    SCOPED_TRACE(expected.obj);
    EXPECT_EQ(expected.obj, record.obj);
    EXPECT_EQ(expected.is_tum, record.is_tum);
    EXPECT_EQ(expected.hit_obj, record.hit_obj);
    for (double Record::*number :
         {&Record::diameter, &Record::hit_dice, &Record::hit_max, &Record::hit_median, &Record::hit_q95,
          &Record::hit_logit, &Record::hit_stat, &Record::self_stat, &Record::self_logit}) {
        if (std::isinf(expected.*number)) EXPECT_EQ(expected.*number, record.*number);
        // The same formulas in another order of double operations; 1e-6 is what the design asks for.
        else
            EXPECT_NEAR(expected.*number, record.*number, 1e-6);
    }
}

TEST(LesionRecords, EqualTheOriginals) {
    const auto input = read_safetensors(golden_file("prc_records.input.safetensors"));
    const Records expected = read_records(golden_file("prc_records.expected.json"));
    ASSERT_EQ(expected.size(), 6u);
    ASSERT_TRUE(input.contains("case_1.target"));
    for (const auto& [name, list] : expected) {
        SCOPED_TRACE(name);
        if (!input.contains(name + ".target")) continue;  // only part of the scans is kept beside the tests
        const StoredTensor& stored = input.at(name + ".target");
        const std::vector<float> values = stored.as_f32();
        const std::vector<std::uint8_t> target(values.begin(), values.end());
        const std::vector<float> probability = input.at(name + ".prob").as_f32();
        const std::vector<float> logit = input.at(name + ".logit").as_f32();
        const std::vector<Record> records = lesion_records(
            {stored.shape[0], stored.shape[1], stored.shape[2], target.data(), probability.data(), logit.data()});
        ASSERT_EQ(list.size(), records.size());
        for (std::size_t i = 0; i < list.size(); ++i) expect_equal(list[i], records[i]);
    }
}

TEST(LesionRecords, LesionHitTwiceReportsTheDetectionOfHigherDice) {
    Scan scan{1, 1, 12};
    for (int v : {0, 1, 2, 3, 4, 5}) scan.target[v] = 1;
    for (int v : {0, 1, 2}) scan.detect(v, 1.0f);  // Dice 2 * 3 / 9
    scan.detect(4, 8.0f);                          // sure, but one voxel
    scan.detect(9, 2.0f);                          // a false positive
    const std::vector<Record> records = scan.records();
    ASSERT_EQ(records.size(), 4u);
    EXPECT_EQ(records[0].hit_obj, "pred_1");
    EXPECT_NEAR(records[0].hit_dice, 6.0 / 9.0, 1e-12);
    EXPECT_FLOAT_EQ(static_cast<float>(records[0].hit_logit), 1.0f);
    EXPECT_EQ(records[1].hit_obj, "tum_1");  // so neither detection is a false positive
    EXPECT_EQ(records[2].hit_obj, "tum_1");
    EXPECT_EQ(records[3].hit_obj, "tum_None");
    EXPECT_EQ(records[3].hit_logit, -kInfinity);
    const LesionCounts counts = count_lesions(records, {});
    EXPECT_EQ(counts.found, 1);
    EXPECT_EQ(counts.false_positives, 1);
}

TEST(LesionRecords, IgnoredVoxelsAreInNoLesionAndNoDetection) {
    Scan scan{1, 1, 16};
    for (int v : {0, 1, 2, 3, 8, 9}) scan.target[v] = 1;
    for (int v : {2, 3, 4, 5, 12}) scan.detect(v, static_cast<float>(v));
    std::vector<std::uint8_t> ignored(16);
    for (int v : {3, 4, 8, 9, 12}) ignored[v] = 1;  // cuts the lesion and the detection, removes one of each
    const std::vector<Record> records =
        lesion_records({1, 1, 16, scan.target.data(), scan.probability.data(), scan.logit.data(), ignored.data()});
    ASSERT_EQ(records.size(), 3u);  // voxels 0 to 2 against 2, and 5
    EXPECT_NEAR(records[0].diameter, std::cbrt(3 * 6 / 3.14159265358979), 1e-9);
    EXPECT_NEAR(records[0].hit_dice, 2.0 / 4.0, 1e-12);
    EXPECT_EQ(records[0].hit_logit, 2);  // not that of the ignored voxel 3
    EXPECT_EQ(records[2].hit_obj, "tum_None");
    std::fill(ignored.begin(), ignored.end(), 0);
    EXPECT_EQ(scan.records(), lesion_records({1, 1, 16, scan.target.data(), scan.probability.data(), scan.logit.data(),
                                              ignored.data()}));
}

TEST(LesionRecords, WithoutLogitsTheyAreThoseOfTheProbabilities) {
    Scan scan{1, 1, 12};
    scan.target[1] = 1;
    for (int v : {1, 2}) scan.detect(v, 1.5f * static_cast<float>(v));
    scan.probability[6] = 1;  // a mask's score
    const std::vector<Record> records = lesion_records({1, 1, 12, scan.target.data(), scan.probability.data()});
    EXPECT_NEAR(records[1].self_logit, 3, 1e-5);  // a probability is rounded to 24 bits
    EXPECT_EQ(records[2].self_stat, 1);
    EXPECT_NEAR(records[2].self_logit, 24 * std::log(2), 1e-6);
    EXPECT_EQ(logit_of(0), -logit_of(1));
}

TEST(LesionRecords, HitsAgreeWithOverlapCountedVoxelByVoxel) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    for (int round = 0; round < 20; ++round) {
        Scan scan{4, 9, 40};
        // Rods along W of at most seven voxels with empty rows between: every rod is one component.
        for (int row = 0; row < 36; row += 2)
            for (int begin = static_cast<int>(random() % 4), size = 0; begin < 40; begin += size + 2) {
                size = 1 + static_cast<int>(random() % 6);
                for (int w = begin; w < std::min(begin + size, 40); ++w) {
                    scan.target[row * 40 + w] = random() % 4 != 0;
                    if (random() % 4) scan.detect(row * 40 + w, 0.1f + static_cast<float>(random() % 50) / 10);
                }
            }
        const auto target_voxels = static_cast<double>(std::count(scan.target.begin(), scan.target.end(), 1));
        const auto predicted_voxels = static_cast<double>(
            std::count_if(scan.probability.begin(), scan.probability.end(), [](float p) { return p > 0.5f; }));
        double lesion_voxels = 0, detected_voxels = 0;
        for (const Record& record : scan.records()) {
            const double voxels = std::pow(record.diameter, 3) * 3.14159265358979 / 6;
            (record.is_tum ? lesion_voxels : detected_voxels) += voxels;
            EXPECT_EQ(record.hit_dice > 0, !record.hit_obj.ends_with("_None"));
            EXPECT_LE(record.hit_dice, 1.0);
            EXPECT_LE(record.hit_median, record.hit_q95);
            EXPECT_LE(record.hit_q95, record.hit_max);
        }
        // Components of a side share its voxels among them; rounding of cbrt and pow only.
        EXPECT_NEAR(lesion_voxels, target_voxels, 1e-6);
        EXPECT_NEAR(detected_voxels, predicted_voxels, 1e-6);
    }
}

TEST(RecordsFile, ReadsBackWhatWasWritten) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937 random(seed);
    std::uniform_real_distribution<double> any(-50, 50), share(0, 1), size(1e-3, 50);
    Records records;
    records["empty"] = {};
    for (const char* name : {"1.3.6.1", "a \"quoted\" Infinity -Infinity\\", "b"})
        for (int i = 0; i < 5; ++i) {
            Record record{"tum_1", i % 2 == 0, size(random),  share(random), 1e-9 * share(random), 0.0,
                          1.0,     -kInfinity, share(random), "pred_None",   share(random),        any(random) * 1e20};
            if (i > 2) record.diameter_mm = size(random);
            records[name].push_back(record);
        }
    const auto file = scratch_file("round_trip.json");
    write_records(file, records);
    EXPECT_EQ(read_records(file), records);
    std::ifstream stream(file);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    EXPECT_NE(text.find("\"hit_logit\": -Infinity, "), std::string::npos);
    EXPECT_NE(text.find("\"hit_median\": 0.0, "), std::string::npos);  // a float in Python too
    std::filesystem::remove(file);
}

TEST(RecordsFile, RefusesBadFilesInOneSentenceThatNamesThem) {
    const auto file = scratch_file("bad.json");
    const char* record = R"({"obj":"tum_1","is_tum":true,"diameter":1,"hit_dice":0,"hit_max":0,"hit_median":0,)"
                         R"("hit_q95":0,"hit_logit":-Infinity,"hit_stat":0,"hit_obj":"pred_None","self_stat":1)";
    for (const auto& [text, named] : std::vector<std::pair<std::string, std::string>>{
             {"", "line 1: it ends where '{' is expected"},
             {"[1, 2]", "'[' stands where '{' is expected"},
             {"{\"a\": [\n3]}", "line 2: a[0] is not an object"},
             {R"({"a": 3})", "'3' stands where '[' is expected"},
             {R"({"a": []} b)", "something follows its end"},
             {R"({"a": [{"\q": 1}]})", "an escape"},
             {R"({"a": [{"obj": 1}]})", "a[0].obj is not a string"},
             {R"({"a": [{"is_tum": 1}]})", "a[0].is_tum is neither true nor false"},
             {std::string(R"({"a": [)") + record + "}]}", "a[0] lacks the key self_logit"},
             {std::string(R"({"a": [)") + record + R"(, "self_logit": "x"}]})", "a[0].self_logit is not a number"},
             {std::string(R"({"a": [)") + record + R"(, "self_logit": NaN}]})", "a[0].self_logit is not a number"},
             {R"({"a": [], "a": []})", "the scan a is there twice"},
             {R"({"a": [{"hit_dice": 1.5}]})", "a[0].hit_dice is 1.5; expected a share from 0 to 1"},
             {R"({"a": [{"hit_max": -0.1}]})", "a[0].hit_max is -0.1"},
             {R"({"a": [{"self_stat": Infinity}]})", "a[0].self_stat is inf"},
             {R"({"a": [{"diameter": 0}]})", "a[0].diameter is 0; expected a number above 0"},
             {R"({"a": [{"diameter_mm": -2}]})", "a[0].diameter_mm is -2; expected a number above 0"},
             {std::string(R"({"a": [)") + record + R"(, "self_logit": Infinity)", "it ends where ',' is expected"}}) {
        std::ofstream(file) << text;
        try {
            read_records(file);
            FAIL() << text << " was read";
        } catch (const InputError& error) {
            EXPECT_NE(std::string(error.what()).find(file.string()), std::string::npos) << error.what();
            EXPECT_NE(std::string(error.what()).find(named), std::string::npos) << error.what();
        }
    }
    std::filesystem::remove(file);
    EXPECT_THROW(read_records(file), InputError);
}

TEST(Overlap, DiceOfTwoEmptyMasksIsOne) {
    EXPECT_EQ(Overlap({.both = 0, .target = 0, .prediction = 0}).dice(), 1.0);
    EXPECT_EQ(Overlap({.both = 0, .target = 1, .prediction = 0}).dice(), 0.0);
    EXPECT_NEAR(Overlap({.both = 1, .target = 1, .prediction = 2}).dice(), 2.0 / 3.0, 1e-15);
}

}  // namespace
}  // namespace iwseg

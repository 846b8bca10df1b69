#include "apps/prediction/prediction_run.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <map>

#include "apps/prediction/memory_need.h"
#include "apps/prediction/prediction_files.h"
#include "apps/prediction/prediction_input.h"
#include "apps/run_folder/trained_on.h"
#include "apps/training/training_run.h"
#include "base/atomic_file.h"
#include "base/error.h"
#include "data/phantom.h"
#include "engine/safetensors.h"
#include "models/grid_prediction.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

template <class Work>
std::string sentence_of(const Work& work) {
    try {
        work();
    } catch (const InputError& error) {
        return error.what();
    }
    ADD_FAILURE() << "nothing was refused";
    return "";
}

bool holds(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
}

/// A training on small phantoms that lives as long as the test suite, and folders for what is made of it.
class PredictionRun : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder() = fs::path(testing::TempDir()) / fmt::format("prediction_run_{}", ::getpid());
        write_phantoms(folder() / "data", 1);
        write_phantoms(folder() / "other", 2);
        train_on("data", "run");
    }
    static void train_on(const std::string& data, const std::string& run, const std::string& setting = "batch=2") {
        Context context({.device = "cpu", .threads = 1});
        train(
            context,
            resolve_config(std::nullopt, {"widths=[2,2,2,2]", "patch=16", "epochs=1", "steps_per_epoch=2",
                                          "predict.patch=16", "predict.stride=16", "threads=1", "workers=1", setting}),
            folder() / data, RunFolder(folder() / run));
    }
    static void TearDownTestSuite() { fs::remove_all(folder()); }
    static void write_phantoms(const fs::path& data, std::uint64_t seed) {
        PhantomOptions options;
        options.folder = data;
        options.cases = 4;
        options.size = 32;
        options.seed = seed;
        write_phantom_dataset(options);
    }

    static fs::path& folder() {
        static fs::path path;
        return path;
    }
    static TrainedNetwork network() {
        return open_network(folder() / "run/model.safetensors", folder() / "run/config.toml");
    }
    static PredictionInput find(const PredictionRequest& request) {
        std::vector<TrainedNetwork> networks{network()};
        return find_scans(request, networks);
    }
    static void predict(TrainedNetwork of_run, const PredictionRequest& request, PredictionOptions options) {
        Context context({.device = "cpu", .threads = 1});
        options.patch = options.stride = 16;
        std::vector<TrainedNetwork> networks{std::move(of_run)};
        const PredictionInput found = find_scans(request, networks);
        predict_cases(context, networks, found.dataset, found.cases, options);
    }
    /// The run's weights with one value changed, as another file.
    static fs::path changed_weights(const std::string& name, const std::string& array, float value) {
        std::map<std::string, std::string> metadata;
        auto tensors = read_safetensors(folder() / "run/model.safetensors", &metadata);
        std::memcpy(tensors.at(array).bytes.data(), &value, sizeof value);
        std::vector<TensorToStore> stored;
        for (const auto& [key, tensor] : tensors) stored.push_back({key, tensor.type, tensor.shape, tensor.bytes});
        write_safetensors(folder() / name, stored, metadata);
        return folder() / name;
    }
};

TEST_F(PredictionRun, OfTheDataTrainedOnTheTestCasesArePredicted) {
    const PredictionInput found = find({.runs = {folder() / "run"}, .data = folder() / "data"});
    EXPECT_EQ(found.cases.size(), read_split(folder() / "run/split.json").test.size());
    EXPECT_TRUE(holds(found.choice, "by the run's split")) << found.choice;
}

TEST_F(PredictionRun, OfOtherDataAllCasesArePredictedThoughTheirNamesAreTheSame) {
    const PredictionInput found = find({.runs = {folder() / "run"}, .data = folder() / "other"});
    EXPECT_EQ(found.cases.size(), 4u);
    EXPECT_TRUE(holds(found.choice, "not trained on")) << found.choice;
    const PredictionInput input = find({.runs = {folder() / "run"}, .input = {folder() / "other"}});
    EXPECT_EQ(input.cases.size(), 4u);
}

std::vector<std::string> names_of(const std::vector<Case>& cases) {
    std::vector<std::string> names;
    for (const Case& scan : cases) names.push_back(scan.name);
    return names;
}

TEST_F(PredictionRun, OfSeveralRunsEachIsAskedWhetherTheDataIsItsOwn) {
    train_on("other", "run_of_other", "seed=5");
    const std::vector<std::string> trained = read_split(folder() / "run_of_other/split.json").train;
    ASSERT_FALSE(trained.empty());
    for (const auto& order : {std::vector<fs::path>{folder() / "run", folder() / "run_of_other"},
                              std::vector<fs::path>{folder() / "run_of_other", folder() / "run"}}) {
        const PredictionInput found = find({.runs = order, .data = folder() / "other"});
        EXPECT_EQ(found.cases.size(), 4 - trained.size());
        for (const std::string& name : names_of(found.cases))
            EXPECT_EQ(std::count(trained.begin(), trained.end(), name), 0) << name << " was trained on";
        EXPECT_TRUE(holds(found.choice, "1 of 2 runs were trained on it")) << found.choice;
    }
    write_phantoms(folder() / "third", 3);
    const PredictionInput found =
        find({.runs = {folder() / "run", folder() / "run_of_other"}, .data = folder() / "third"});
    EXPECT_EQ(found.cases.size(), 4u);
    EXPECT_TRUE(holds(found.choice, "none of the runs was trained on")) << found.choice;
}

TEST_F(PredictionRun, TestScansAreKnownByTheDataAndNotByTheirNamesAlone) {
    const std::vector<std::string> test = read_split(folder() / "run/split.json").test;
    EXPECT_EQ(find({.runs = {folder() / "run"}, .data = folder() / "data"}).own_test_scans, test);
    EXPECT_EQ(find({.runs = {folder() / "run"}, .data = folder() / "data", .cases = test}).own_test_scans, test);
    EXPECT_EQ(find({.runs = {folder() / "run"}, .input = {folder() / "data/imagesTr"}}).own_test_scans, test);
    for (const PredictionRequest& elsewhere :
         {PredictionRequest{.runs = {folder() / "run"}, .data = folder() / "other"},
          PredictionRequest{.runs = {folder() / "run"}, .input = {folder() / "other/imagesTr"}}})
        EXPECT_TRUE(find(elsewhere).own_test_scans.empty());
    // Weights alone know them by what stands beside their point.
    std::vector<TrainedNetwork> weights{network()};
    EXPECT_TRUE(find_scans({.data = folder() / "data"}, weights).own_test_scans.empty());
    weights[0].operating_point = OperatingPoint{.on_test_scans = true};
    const Dataset dataset = open_dataset(folder() / "data");
    for (const std::string& name : test) weights[0].operating_point->test_scans[name] = image_bytes(dataset.find(name));
    EXPECT_EQ(find_scans({.data = folder() / "data"}, weights).own_test_scans, test);
    EXPECT_TRUE(find_scans({.data = folder() / "other"}, weights).own_test_scans.empty());
}

TEST_F(PredictionRun, ADatasetThatWasMovedIsKnownAgain) {
    fs::copy(folder() / "data", folder() / "moved", fs::copy_options::recursive);
    const auto trained = read_trained_on(folder() / "run/trained_on.json");
    ASSERT_TRUE(trained);
    TrainedOn elsewhere = *trained;
    elsewhere.folder = "/nowhere";
    EXPECT_TRUE(elsewhere.is(open_dataset(folder() / "moved")));
    EXPECT_FALSE(elsewhere.is(open_dataset(folder() / "other")));
    EXPECT_TRUE(trained->is(open_dataset(folder() / "data")));
    EXPECT_FALSE(read_trained_on(folder() / "no.json"));
    write_text(folder() / "torn.json", "{\"folder\": 3}");
    EXPECT_TRUE(holds(sentence_of([] { read_trained_on(folder() / "torn.json"); }), "torn.json"));
}

TEST_F(PredictionRun, CasesThatAreNamedArePredictedAndNoOthers) {
    const std::string name = open_dataset(folder() / "other").cases[2].name;
    EXPECT_EQ(find({.runs = {folder() / "run"}, .data = folder() / "other", .cases = {name}}).cases[0].name, name);
    EXPECT_TRUE(holds(sentence_of([&] { find({.data = folder() / "other", .cases = {name, name}}); }), "twice"));
}

TEST_F(PredictionRun, AFolderOfFilesNeedsNoDatasetJson) {
    const PredictionInput found = find({.input = {folder() / "other/imagesTr"}});
    EXPECT_EQ(found.cases.size(), 4u);
    EXPECT_EQ(found.dataset.channels.size(), 1u);
    EXPECT_TRUE(holds(sentence_of([] { find({.input = {folder() / "none"}}); }), "does not exist"));
}

TEST_F(PredictionRun, ResultsAreInTheFormatOfTheScanOrInTheOneAskedFor) {
    const fs::path image = find({.data = folder() / "data"}).cases[0].images[0];
    const fs::path scans = folder() / "meta";
    fs::create_directories(scans);
    write_volume(scans / "a.mha", read_image(image));
    fs::copy(image, scans / "b.nii.gz");
    PredictionOptions options;
    options.out = folder() / "formats";
    predict(network(), {.input = {scans}}, options);
    for (const char* what : {"mask", "prob", "logit"}) {
        const auto meta = find_prediction_file(options.out, "a", what),
                   nifti = find_prediction_file(options.out, "b", what);
        ASSERT_TRUE(meta && nifti) << what;
        EXPECT_EQ(meta->extension(), ".mha");
        EXPECT_EQ(nifti->extension(), ".gz");
        EXPECT_EQ(read_image(*meta).voxels, read_image(*nifti).voxels) << what;
        require_same_geometry(read_geometry(*meta), *meta, read_geometry(*nifti), *nifti);
    }
    EXPECT_FALSE(find_prediction_file(options.out, "c", "mask"));
    options.out = folder() / "as_nifti";
    options.ending = ".nii";
    predict(network(), {.input = {scans / "a.mha"}}, options);
    EXPECT_EQ(find_prediction_file(options.out, "a", "mask"), options.out / "a_mask.nii");
    write_text(options.out / "a_mask.mha", "");
    EXPECT_TRUE(holds(sentence_of([&] { find_prediction_file(options.out, "a", "mask"); }), "both the mask of case a"));
}

TEST_F(PredictionRun, AResultThatIsNotFiniteIsAnErrorNamingTheScan) {
    // Finite as it stands; times the values of batch normalisation it is beyond f32.
    const fs::path weights = changed_weights("overflow.safetensors", "2.2.weight", std::numeric_limits<float>::max());
    for (const bool mask_alone : {false, true}) {
        PredictionOptions options;
        options.out = folder() / "overflow";
        options.probability = options.logit = !mask_alone;
        TrainedNetwork broken = network();
        broken.weights = weights;
        const std::string name = find({.data = folder() / "data"}).cases[0].name;
        const std::string sentence =
            sentence_of([&] { predict(broken, {.data = folder() / "data", .cases = {name}}, options); });
        EXPECT_TRUE(holds(sentence, "case " + name)) << sentence;
        EXPECT_TRUE(holds(sentence, "at voxel (")) << sentence;
        EXPECT_FALSE(fs::exists(options.out)) << "something was written";
    }
}

TEST_F(PredictionRun, WeightsThatAreNotNumbersAreRefusedNamingTheArray) {
    TrainedNetwork broken = network();
    broken.weights = changed_weights("nan.safetensors", "0.1.layer.weight", std::numeric_limits<float>::quiet_NaN());
    PredictionOptions options;
    options.out = folder() / "nan";
    const std::string sentence = sentence_of([&] { predict(broken, {.data = folder() / "data"}, options); });
    EXPECT_TRUE(holds(sentence, "nan.safetensors: 0.1.layer.weight holds a value that is not finite")) << sentence;
    EXPECT_FALSE(fs::exists(options.out));
}

TEST(GridLimits, AreThoseOfTheKeys) {
    for (const std::int64_t patch :
         {std::int64_t{0}, std::int64_t{-1}, std::int64_t{7}, std::int64_t{4097}, INT64_MAX}) {
        EXPECT_TRUE(holds(sentence_of([&] {
                              require_usable(GridOptions{patch, 1}, "--patch", "--stride");
                          }),
                          fmt::format("--patch = {} is not usable: it must be from 8 to 4096 voxels", patch)));
        EXPECT_TRUE(holds(sentence_of([&] {
                              Config config;
                              config.predict.patch = patch;
                              check_config(config);
                          }),
                          "predict.patch = "));
    }
    EXPECT_TRUE(holds(sentence_of([] {
                          require_usable(GridOptions{64, 65}, "--patch", "--stride");
                      }),
                      "--stride = 65 is not usable: it must be from 1 to --patch, which is 64"));
    require_usable(GridOptions{8, 1}, "--patch", "--stride");
    require_usable(GridOptions{4096, 4096}, "--patch", "--stride");
}

/// A NIfTI header of 30000 x 30000 x 30000 voxels of one byte, and no voxels.
fs::path write_giant() {
    const fs::path file = fs::path(testing::TempDir()) / fmt::format("giant_{}.nii", ::getpid());
    write_volume(file, Volume<std::uint8_t>{{{1, 1, 1}}, {0}});
    std::string bytes = read_text(file);
    const std::int16_t side = 30000;
    for (std::size_t axis = 0; axis < 3; ++axis) std::memcpy(&bytes[42 + 2 * axis], &side, 2);
    write_text(file, bytes);
    return file;
}

TEST(Memory, WhatCannotFitIsRefusedFromTheHeaderAlone) {
    const fs::path giant = write_giant();
    const MemoryNeed needs[] = {labelling_need(giant, false), evaluation_need({"g", giant}),
                                prediction_need({.name = "g", .files = {giant}})};
    for (const MemoryNeed& need : needs) {
        EXPECT_GT(need.bytes, std::int64_t{5} * 27'000'000'000'000) << "each holds at least five bytes a voxel";
        const std::string sentence = sentence_of([&] { memory_sentence({need}, "working on"); });
        EXPECT_TRUE(holds(sentence, "30000 x 30000 x 30000 voxels needs")) << sentence;
        EXPECT_TRUE(holds(sentence, "are free")) << sentence;
    }
    fs::remove(giant);
}

TEST(Memory, TheLargestScanIsNamedWithWhatTheProgramHolds) {
    const std::string sentence = memory_sentence(
        {{"small", {2, 2, 2}, 100}, {"large", {3, 3, 3}, 1000}, {"other", {1, 1, 1}, 999}}, "labelling");
    EXPECT_TRUE(holds(sentence, "most for large, 3 x 3 x 3 voxels")) << sentence;
    EXPECT_GT(resident_bytes(), 1 << 20);
}

TEST(Memory, PredictionHoldsImageAndResultsOrFilesThatAreWritten) {
    const fs::path giant = write_giant();
    const std::int64_t voxels = 27'000'000'000'000;
    // One channel: logits, probabilities, and a volume in its file's order and compressed.
    EXPECT_EQ(prediction_need({.name = "g", .files = {giant}, .lasting_bytes = 7}).bytes, 7 + 16 * voxels);
    EXPECT_EQ(prediction_need({.name = "g", .files = {giant}, .logit = false}).bytes, 12 * voxels);
    EXPECT_EQ(prediction_need({.name = "g", .files = {giant}, .logit = false, .packed = false}).bytes, 12 * voxels);
    // Four channels: these and both results.
    EXPECT_EQ(prediction_need({.name = "g", .files = {giant, giant, giant, giant}, .channels = 4}).bytes, 24 * voxels);
    fs::remove(giant);
}

}  // namespace
}  // namespace iwseg

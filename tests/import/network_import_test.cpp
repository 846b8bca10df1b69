// Checkpoints of MONAI's and of the original, against what MONAI itself computes (tests/import/monai_golden.py).
#include "import/network_import.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "base/atomic_file.h"
#include "engine/compile.h"
#include "engine/initialisation.h"
#include "engine/plan.h"
#include "import/zip_archive.h"
#include "models/networks.h"
#include "models/prediction_settings.h"
#include "models/unet.h"
#include "tests/import/pickle_files.h"
#include "tests/support/backends.h"
#include "tests/support/golden.h"
#include "tests/support/refusal.h"

namespace iwseg {
namespace {

using std::filesystem::path;

/// A state_dict as torch.save leaves it.
void save_state(const path& file, const std::vector<std::pair<std::string, std::vector<float>>>& arrays,
                const std::vector<std::vector<std::int64_t>>& shapes) {
    using namespace pickle_files;
    std::vector<ZipContent> contents;
    const auto add = [&](const std::string& name, const void* data, std::size_t bytes) {
        contents.push_back({"archive/" + name, {{static_cast<const char*>(data), bytes}}});
    };
    std::string items;
    for (std::size_t i = 0; i < arrays.size(); ++i) {
        const std::string key = std::to_string(i);
        std::string sides, strides;
        std::int64_t stride = 1;
        for (std::size_t k = shapes[i].size(); k-- > 0; stride *= shapes[i][k])
            sides = number(static_cast<int>(shapes[i][k])) + sides,
            strides = number(static_cast<int>(stride)) + strides;
        items +=
            text(arrays[i].first) + tensor(storage(key, static_cast<int>(arrays[i].second.size())), 0, sides, strides);
        add("data/" + key, arrays[i].second.data(), arrays[i].second.size() * sizeof(float));
    }
    const std::string all = pickle(dictionary(items));
    add("data.pkl", all.data(), all.size());
    AtomicFile out(file);
    write_zip(contents, [&](std::string_view bytes) { out.write(std::as_bytes(std::span(bytes))); });
    out.commit();
}

class NetworkImport : public testing::Test {
  protected:
    void TearDown() override {
        for (const path& file : {out_, made_}) std::filesystem::remove(file);
    }

    static path checkpoint(const std::string& name) { return golden_file("monai/" + name + ".pt"); }

    /// (N, C, z, y, x) of (N, C, x, y, z).
    static std::vector<float> turned(const StoredTensor& from) {
        const std::vector<float> values = from.as_f32();
        std::vector<float> to;
        const std::int64_t x = from.shape[2], y = from.shape[3], z = from.shape[4];
        for (std::int64_t c = 0; c < from.shape[1]; ++c)
            for (std::int64_t k = 0; k < z; ++k)
                for (std::int64_t j = 0; j < y; ++j)
                    for (std::int64_t i = 0; i < x; ++i)
                        to.push_back(values[static_cast<std::size_t>(((c * x + i) * y + j) * z + k)]);
        return to;
    }

    /// Logits of the golden image by the imported weights.
    std::vector<float> logits(bool turn, TestBackend backend) {
        const Network network = network_of_weights(out_.string());
        Graph graph;
        Parameters parameters;
        Context context(backend_of(backend), ContextOptions{.threads = 2});
        const std::vector<std::int64_t>& s = golden_.at("image").shape;
        const Tensor image = graph.input("image", turn ? Shape{1, 1, s[4], s[3], s[2]} : Shape{1, 1, s[2], s[3], s[4]}),
                     logit = network.build(image);
        Compiled compiled = compile(graph, context, parameters, {.keep = {logit}});
        const Buffer from = compiled[image], to = compiled[logit];
        parameters.load(out_);
        Plan plan(context, compiled.program);
        std::vector<float> values = turn ? turned(golden_.at("image")) : golden_.at("image").as_f32();
        std::vector<float> result(static_cast<std::size_t>(logit.shape().elements()));
        plan.bind(from, values.data());
        plan.run();
        plan.read(to, result.data());
        return result;
    }
    /// PyTorch sums in other orders: a few units in the last place of sums of at most 100 products, layer by layer.
    void expect_golden(const std::string& name, bool turn = false, TestBackend backend = TestBackend::cpu) {
        const std::vector<float> got = logits(turn, backend);
        const std::vector<float> expected = turn ? turned(golden_.at(name)) : golden_.at(name).as_f32();
        ASSERT_EQ(got.size(), expected.size());
        double largest = 0;
        for (const float value : expected) largest = std::max(largest, std::abs(double{value}));
        for (std::size_t i = 0; i < got.size(); ++i)
            ASSERT_NEAR(got[i], expected[i], 1e-5 * largest) << name << ' ' << i;
    }
    std::string refusal_of(const std::string& name, const ImportOptions& options) {
        return refusal([&] { import_monai(checkpoint(name), out_, options); });
    }
    using Shapes = std::vector<std::pair<std::string, std::vector<std::int64_t>>>;
    /// A checkpoint of ones of these shapes.
    void save_ones(const Shapes& of) {
        std::vector<std::pair<std::string, std::vector<float>>> arrays;
        std::vector<std::vector<std::int64_t>> shapes;
        for (const auto& [name, shape] : of) {
            std::size_t elements = 1;
            for (const std::int64_t side : shape) elements *= static_cast<std::size_t>(side);
            arrays.emplace_back(name, std::vector<float>(elements, 1));
            shapes.push_back(shape);
        }
        save_state(made_, arrays, shapes);
    }
    std::string refusal_of_ones(const Shapes& of, const ImportOptions& options = {}) {
        save_ones(of);
        return refusal([&] { import_monai(made_, out_, options); });
    }
    /// A UNet of two levels, single convolutions and names that begin with this.
    static Shapes small_unet(const std::string& prefix, std::vector<std::string> after_first = {}) {
        Shapes all;
        const auto add = [&](const std::string& layer, const std::vector<std::int64_t>& shape) {
            all.emplace_back(prefix + layer + ".conv.weight", shape);
            all.emplace_back(prefix + layer + ".conv.bias", std::vector{shape[layer == "model.2" ? 1 : 0]});
        };
        add("model.0", {2, 1, 3, 3, 3});
        for (const std::string& name : after_first)
            all.emplace_back(prefix + "model.0." + name, std::vector<std::int64_t>{name == "adn.A.weight" ? 1 : 2});
        add("model.1.submodule", {2, 2, 3, 3, 3});
        add("model.2", {4, 1, 3, 3, 3});
        return all;
    }

    /// BasicUNet's state_dict, whose golden file holds an image and logits too. upsample: what a part of that name is
    /// called.
    void save_basic_unet(const std::string& upsample = "deconv") {
        golden_ = read_safetensors(golden_file("basic_unet.safetensors"));
        std::vector<std::pair<std::string, std::vector<float>>> arrays;
        std::vector<std::vector<std::int64_t>> shapes;
        for (const auto& [key, tensor] : golden_) {
            if (!key.starts_with("before.")) continue;
            // Whose channels stay as many: of nontrainable nothing is learned there.
            if (upsample == "preconv" && key.starts_with("before.upcat_1.upsample.")) continue;
            std::string name = "net." + key.substr(7);
            if (const std::size_t at = name.find("deconv"); at != std::string::npos) name.replace(at, 6, upsample);
            arrays.emplace_back(name, tensor.as_f32());
            shapes.push_back(tensor.shape);
        }
        save_state(made_, arrays, shapes);
    }

    std::map<std::string, StoredTensor> golden_ = read_safetensors(golden_file("monai/logits.safetensors"));
    path out_ = std::filesystem::temp_directory_path() / ("import_" + std::to_string(getpid()) + ".safetensors");
    path made_ = std::filesystem::temp_directory_path() / ("import_" + std::to_string(getpid()) + ".pt");
};

TEST_F(NetworkImport, UnetOfResidualUnitsGivesMonaisLogits) {
    ImportOptions options;
    options.settings.intensity = {Intensity::Kind::window, -57, 164};
    options.settings.grid = {.patch = 32, .stride = 24};
    const Imported done = import_monai(checkpoint("unet"), out_, options);
    EXPECT_EQ(done.network, "monai_unet");
    EXPECT_EQ(done.left_out, 0);
    expect_golden("unet");
    const PredictionSettings settings = settings_of_file(out_);
    EXPECT_EQ(settings.intensity, options.settings.intensity);
    EXPECT_EQ(settings.grid.patch, 32);
}

TEST_F(NetworkImport, UnetOfSingleConvolutionsBatchNormAndOtherStridesGivesMonaisLogits) {
    ImportOptions options;
    options.strides = {{2, 2, 1}, 2};
    const Imported done = import_monai(checkpoint("unet_batch"), out_, options);
    EXPECT_EQ(done.out_channels, 2);
    expect_golden("unet_batch");
}

TEST_F(NetworkImport, SegResNetsGiveMonaisLogits) {
    ImportOptions options;
    options.groups = 2;
    for (const std::string name : {"segresnet", "segresnet_deconv"}) {
        EXPECT_EQ(import_monai(checkpoint(name), out_, options).network, "segresnet");
        expect_golden(name);
    }
}

TEST_F(NetworkImport, BasicUnetGivesMonaisLogits) {
    save_basic_unet();
    const Imported done = import_monai(made_, out_, {});
    EXPECT_EQ(done.network, "basic_unet");
    EXPECT_EQ(done.left_out, 0);
    EXPECT_EQ(done.assumed,
              (std::vector<std::string>{"axes x, y, z", "leaky_relu", "a slope of 0.1", "instance norm"}));
    expect_golden("logits");
    ImportOptions options;
    options.from_zyx = true;
    import_monai(made_, out_, options);
    expect_golden("logits", true);
}

TEST_F(NetworkImport, BasicUnetsOptionsAreRefusedWhereTheyDoNotApply) {
    save_basic_unet();
    ImportOptions options;
    options.strides = {2, 2, 2, 2};
    EXPECT_TRUE(says(refusal([&] { import_monai(made_, out_, options); }), "--strides does not apply to"));
    options = {};
    options.activation = MonaiStyle::Activation::relu;
    import_monai(made_, out_, options);
    EXPECT_GT(std::abs(logits(false, TestBackend::cpu)[0] - golden_.at("logits").as_f32()[0]), 1e-3);
    for (const auto& [part, mode] :
         {std::pair{"preconv", "nontrainable"}, {"pixelshuffle.conv_block", "pixelshuffle"}}) {
        save_basic_unet(part);
        EXPECT_TRUE(says(refusal([&] { import_monai(made_, out_, {}); }), std::string("upsamples by ") + mode));
    }
}

TEST_F(NetworkImport, NetworksOfOtherAxesAreTurned) {
    ImportOptions options;
    options.from_zyx = true;
    options.strides = {{2, 2, 1}, 2};
    import_monai(checkpoint("unet_batch"), out_, options);
    expect_golden("unet_batch", true);
}

TEST_F(NetworkImport, UnetOfGroupNormAndLeakyReluGivesMonaisLogits) {
    ImportOptions options;
    options.strides = {1};
    options.norm = MonaiStyle::Norm::group;
    options.groups = 2;
    options.activation = MonaiStyle::Activation::leaky_relu;
    options.slope = 0.1f;
    EXPECT_EQ(import_monai(checkpoint("unet_group"), out_, options).assumed,
              (std::vector<std::string>{"axes x, y, z", "norm before activation"}));
    expect_golden("unet_group");
}

TEST_F(NetworkImport, UnetOfInstanceNormWithParametersGivesMonaisLogits) {
    EXPECT_EQ(import_monai(checkpoint("unet_affine"), out_, {}).assumed,
              (std::vector<std::string>{"strides 2", "axes x, y, z", "instance norm"}));
    expect_golden("unet_affine");
}

// CUDA's convolutions of f32 sum in f32 too; on the executor once, since the kernels have tests of their own.
TEST_F(NetworkImport, NetworksGiveMonaisLogitsByCudasKernels) {
    const simt::Unwatched unwatched;
    import_monai(checkpoint("unet"), out_, {});
    expect_golden("unet", false, TestBackend::simt);
    ImportOptions options;
    options.groups = 2;
    import_monai(checkpoint("segresnet"), out_, options);
    expect_golden("segresnet", false, TestBackend::simt);
}

TEST_F(NetworkImport, WhatIsAssumedIsSaid) {
    EXPECT_EQ(import_monai(checkpoint("unet"), out_, {}).assumed,
              (std::vector<std::string>{"strides 2 2", "axes x, y, z", "instance norm", "norm before activation"}));
    ImportOptions options;
    options.groups = 2;
    EXPECT_EQ(import_monai(checkpoint("segresnet"), out_, options).assumed,
              (std::vector<std::string>{"axes x, y, z", "relu", "group norm"}));
    options = {};
    options.strides = {{2, 2, 1}, 2};
    options.from_zyx = false;
    options.activation = MonaiStyle::Activation::leaky_relu;
    EXPECT_EQ(import_monai(checkpoint("unet_batch"), out_, options).assumed,
              (std::vector<std::string>{"a slope of 0.01", "norm before activation"}));
}

TEST_F(NetworkImport, OptionsThatDoNotApplyAreRefusedByTheirFlags) {
    ImportOptions options;
    options.groups = 2;
    EXPECT_TRUE(says(refusal_of("unet", options), "--groups does not apply to"));
    EXPECT_TRUE(says(refusal_of("unet_batch", options), "--groups does not apply to"));
    options.strides = {2};
    EXPECT_TRUE(says(refusal_of("segresnet", options), "--strides does not apply to"));
    options = {};
    options.norm = MonaiStyle::Norm::group;
    EXPECT_TRUE(says(refusal_of("unet_batch", options), "--norm does not apply to"));
    options.norm = MonaiStyle::Norm::none;
    EXPECT_TRUE(says(refusal_of("segresnet", options), "--norm does not apply to"));
    options = {};
    options.slope = 0.1f;
    EXPECT_TRUE(says(refusal_of("unet", options), "--slope does not apply to"));
    EXPECT_TRUE(says(refusal_of("segresnet", options), "--slope does not apply to"));
    options.activation = MonaiStyle::Activation::leaky_relu;
    for (const float slope : {-0.1f, 1.0f, std::nanf("")}) {
        options.slope = slope;
        EXPECT_TRUE(says(refusal_of("unet_batch", options), "--slope is not usable")) << slope;
    }
}

TEST_F(NetworkImport, UpsamplingByTrainedShufflesIsRefused) {
    for (const std::string name : {"pixelshuffle.conv_block", "deconvgroup"})
        EXPECT_TRUE(says(refusal_of_ones({{"convInit.conv.weight", {2, 1, 3, 3, 3}},
                                          {"up_samples.0.1." + name + ".weight", {16, 2, 3, 3, 3}}}),
                         "upsamples by " + name.substr(0, name.find('.'))));
}

TEST_F(NetworkImport, ActivationBeforeItsNormIsRefused) {
    EXPECT_TRUE(says(refusal_of_ones(small_unet("", {"adn.A.weight", "adn.N.weight", "adn.N.bias"})),
                     "the activation of model.0 comes before its norm"));
    EXPECT_TRUE(says(refusal_of_ones({{"convInit.conv.weight", {2, 1, 3, 3, 3}}, {"act_mod.weight", {1}}}),
                     "learned slopes of a prelu"));
}

TEST_F(NetworkImport, OfSeveralNetworksOneIsAskedFor) {
    Shapes both = small_unet("model.");
    for (const auto& one : small_unet("ema.model.")) both.push_back(one);
    EXPECT_TRUE(says(refusal_of_ones(both), "begin with 'ema.model.', 'model.': expected one of these as --prefix"));
    ImportOptions options;
    options.prefix = "net";
    EXPECT_TRUE(says(refusal_of_ones(both, options), "--prefix net.: names of networks in"));
    options.prefix = "ema.model";
    EXPECT_EQ(import_monai(made_, out_, options).left_out, 6);
    both = small_unet("");
    for (const auto& one : small_unet("ema.")) both.push_back(one);
    save_ones(both);
    options.prefix = "";
    EXPECT_EQ(import_monai(made_, out_, options).left_out, 6);
}

TEST_F(NetworkImport, NormsAreCompletedWhereTheNetworkHasNone) {
    save_ones(small_unet(""));
    import_monai(made_, out_, {});
    const auto stored = read_safetensors(out_);
    EXPECT_EQ(stored.at("model.0.adn.N.weight").as_f32(), (std::vector<float>{1, 1}));
    EXPECT_EQ(stored.at("model.1.submodule.adn.N.bias").as_f32(), (std::vector<float>{0, 0}));
    EXPECT_FALSE(stored.contains("model.2.adn.N.weight")) << "after it there is no norm";
    ImportOptions options;
    options.norm = MonaiStyle::Norm::none;
    import_monai(made_, out_, options);
    EXPECT_EQ(read_safetensors(out_).size(), 6u);
    // One of a network that has them is missing, or one too many is there.
    EXPECT_TRUE(says(refusal_of_ones(small_unet("", {"adn.N.weight", "adn.N.bias"})),
                     made_.string() + " has no array model.1.submodule.adn.N"));
    Shapes many = small_unet("", {"adn.N.weight", "adn.N.bias"});
    for (const char* name : {"model.1.submodule.adn.N.weight", "model.1.submodule.adn.N.bias", "model.2.adn.N.weight"})
        many.emplace_back(name, std::vector<std::int64_t>{2});
    EXPECT_TRUE(says(refusal_of_ones(many), "holds the array model.2.adn.N.weight, which the network does not have"));
}

// Of 4096 filters a level of the true shape has 28 GB.
TEST_F(NetworkImport, SmallFilesOfLargeNetworksAreRefusedBeforeMemoryIsTaken) {
    Shapes wide{{"convInit.conv.weight", {4096, 1, 1, 1, 1}},
                {"conv_final.0.weight", {1}},
                {"conv_final.2.conv.weight", {1, 1, 1, 1, 1}}};
    for (const char* level : {"0", "1", "2", "3"}) {
        wide.emplace_back("down_layers." + std::string(level) + ".1.conv1.conv.weight",
                          std::vector<std::int64_t>(5, 1));
        wide.emplace_back("up_layers." + std::string(level) + ".0.conv1.conv.weight", std::vector<std::int64_t>(5, 1));
    }
    EXPECT_TRUE(
        says(refusal_of_ones(wide), made_.string() + ": convInit.conv.weight has the shape (4096, 1, 1, 1, 1)"));
    EXPECT_TRUE(says(refusal_of_ones({{"model.0.conv.weight", {1 << 15, 1, 1, 1, 1}},
                                      {"model.1.submodule.conv.weight", {1 << 15, 1, 1, 1, 1}},
                                      {"model.2.conv.weight", {1, 1, 1, 1, 1}}}),
                     made_.string() + ": model.1.submodule.conv.weight has the shape (32768, 1, 1, 1, 1)"));
}

TEST_F(NetworkImport, OriginalsWeightsAreTheStudysNetwork) {
    Graph graph;
    Parameters parameters;
    Context context({.device = "cpu", .threads = 1});
    const Network network = unet({.in_channels = 2, .widths = {2, 2, 2, 2}});
    compile(graph, context, parameters, {.keep = {network.build(graph.input("image", {1, 2, 8, 8, 8}))}});
    initialise(context, parameters, 7);
    std::vector<std::pair<std::string, std::vector<float>>> arrays;
    std::vector<std::vector<std::int64_t>> shapes;
    for (int i = 0; i < parameters.size(); ++i) {
        const float* const from = parameters.value({i});
        arrays.emplace_back("module." + parameters[{i}].name,
                            std::vector<float>(from, from + parameters[{i}].elements));
        shapes.push_back(parameters[{i}].shape);
    }
    arrays.emplace_back("loss.factor", std::vector<float>{1});
    shapes.push_back({1});
    save_state(made_, arrays, shapes);
    const Imported done = import_original(made_, out_, {});
    EXPECT_EQ(done.network, "unet");
    EXPECT_EQ(done.in_channels, 2);
    EXPECT_EQ(done.left_out, 1);
    const auto stored = read_safetensors(out_);
    for (std::size_t i = 0; i + 1 < arrays.size(); ++i)
        EXPECT_EQ(stored.at(arrays[i].first.substr(7)).as_f32(), arrays[i].second) << arrays[i].first;
    EXPECT_NE(refusal([&] { import_monai(made_, out_, {}); }).find("holds no UNet, BasicUNet or SegResNet of MONAI's"),
              std::string::npos);
}

TEST_F(NetworkImport, WhatCannotBeBuiltIsRefusedInASentence) {
    ImportOptions options;
    EXPECT_NE(refusal_of("segresnet", options).find("8 groups of its normalisations do not divide"), std::string::npos);
    EXPECT_TRUE(says(refusal_of("segresnet", options), checkpoint("segresnet").string()));
    options.norm = MonaiStyle::Norm::group;
    EXPECT_TRUE(says(refusal_of("unet_affine", options), "8 groups of its normalisations do not divide"));
    options.groups = 0;
    EXPECT_TRUE(says(refusal_of("segresnet", options), "--groups 0: expected 1 or more"));
    options = {};
    options.strides = {2};
    EXPECT_NE(refusal_of("unet", options).find("3 levels and 1 strides"), std::string::npos);
    options = {};
    options.activation = MonaiStyle::Activation::relu;
    EXPECT_NE(refusal_of("unet", options).find("learned slopes"), std::string::npos);
    options.activation = MonaiStyle::Activation::prelu;
    EXPECT_NE(refusal_of("unet_batch", options).find("no learned slopes"), std::string::npos);
    save_state(made_, {{"model.0.conv.weight", {1, 2, 3, 4}}, {"model.2.conv.weight", {1, 2, 3, 4}}},
               {{1, 1, 2, 2}, {1, 1, 2, 2}});
    EXPECT_TRUE(says(refusal([&] { import_monai(made_, out_, {}); }),
                     made_.string() + ": model.0.conv.weight has 4 dimensions, but five"));
    EXPECT_NE(refusal([&] { import_original(made_, out_, {}); }).find("residual U-Net of the study"),
              std::string::npos);
    EXPECT_FALSE(std::filesystem::exists(out_));
    const std::string name = out_.filename().string();
    for (const auto& entry : std::filesystem::directory_iterator(out_.parent_path()))
        EXPECT_FALSE(entry.path().filename().string().starts_with(name)) << entry.path();
}

}  // namespace
}  // namespace iwseg

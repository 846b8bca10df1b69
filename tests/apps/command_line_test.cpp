#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "base/atomic_file.h"
#include "data/volume/volume.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

struct Result {
    int code = -1;
    std::string out, error;
};

/// Runs the program in a folder that lives as long as the test suite.
class CommandLine : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        folder() = fs::path(testing::TempDir()) / fmt::format("command_line_{}", ::getpid());
        fs::create_directories(folder());
    }
    static void TearDownTestSuite() { fs::remove_all(folder()); }

    static fs::path& folder() {
        static fs::path path;
        return path;
    }
    static Result iwseg(const std::string& arguments) {
        const std::string command = fmt::format("cd {} && OMP_NUM_THREADS=2 {} {} > out.txt 2> error.txt",
                                                folder().string(), IWSEG_PROGRAM, arguments);
        const int status = std::system(command.c_str());
        return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, read_text(folder() / "out.txt"),
                read_text(folder() / "error.txt")};
    }
    static void expect_done(const std::string& arguments) {
        const Result result = iwseg(arguments);
        EXPECT_EQ(result.code, 0) << arguments << "\n" << result.out << result.error;
    }
    static Result expect_refused(const std::string& arguments) {
        const Result result = iwseg(arguments);
        EXPECT_EQ(result.code, 2) << arguments;
        EXPECT_EQ(std::count(result.error.begin(), result.error.end(), '\n'), 1) << result.error;
        return result;
    }
};

constexpr const char* kTiny =
    "--set widths=[2,3,4,5] --set patch=16 --set epochs=2 --set steps_per_epoch=3 "
    "--set intensity={window=[-200,300]} --set predict.patch=32 --set predict.stride=24";

TEST_F(CommandLine, EverySubcommandHasHelpWithAnExample) {
    for (const char* command : {"demo", "phantom", "prepare luna16", "prepare lits", "train", "predict", "evaluate",
                                "run", "froc", "label", "bench", "kernel", "info"}) {
        const Result result = iwseg(fmt::format("{} --help", command));
        EXPECT_EQ(result.code, 0) << command;
        EXPECT_NE(result.out.find("Example"), std::string::npos) << command;
        EXPECT_NE(result.out.find(fmt::format("iwseg {}", command)), std::string::npos) << command;
    }
}

TEST_F(CommandLine, HelpFitsATerminalAndNamesValuesInWords) {
    for (const char* command :
         {"",           "demo",          "phantom",       "prepare",     "prepare luna16", "prepare lits",
          "train",      "predict",       "evaluate",      "run",         "froc",           "label",
          "bench",      "bench step",    "bench kernels", "bench floor", "bench label",    "bench weights",
          "bench loss", "bench predict", "bench patch",   "bench read",  "kernel",         "info"}) {
        const Result result = iwseg(fmt::format("{} --help", command));
        EXPECT_EQ(result.code, 0) << command;
        EXPECT_TRUE(result.out.ends_with('\n')) << command;
        for (const char* word : {"TEXT", "INT", "FLOAT", "REQUIRED"})
            EXPECT_EQ(result.out.find(word), std::string::npos) << command << ": " << word;
        std::istringstream lines(result.out);
        for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80u) << command << ": " << line;
    }
    const std::string help = iwseg("label --help").out;
    EXPECT_NE(help.find("--connectivity N"), std::string::npos) << help;
    EXPECT_NE(help.find("(default: 26)"), std::string::npos) << help;
    EXPECT_NE(iwseg("train --help").out.find("--data DATASET"), std::string::npos);
}

TEST_F(CommandLine, HelpsExamplesSurviveZsh) {
    // What zsh, unlike bash, takes for patterns even where no file matches.
    const std::string special = "[]{}*?~#";
    for (const char* command : {"demo", "phantom", "prepare", "train", "predict", "evaluate", "run", "froc", "label",
                                "bench step", "kernel"}) {
        std::istringstream lines(iwseg(fmt::format("{} --help", command)).out);
        bool in_examples = false;
        for (std::string line; std::getline(lines, line);) {
            in_examples |= line.starts_with("Example");
            if (!in_examples || !line.starts_with("  ")) continue;
            bool quoted = false;
            for (const char c : line) {
                if (c == '\'') quoted = !quoted;
                EXPECT_TRUE(quoted || special.find(c) == std::string::npos) << command << ": " << line;
            }
        }
    }
}

TEST_F(CommandLine, UnknownWordsNameTheNearest) {
    const auto refusal = [](const std::string& arguments) { return expect_refused(arguments).error; };
    EXPECT_EQ(refusal("trian"), "iwseg: unknown command trian; did you mean train? (iwseg --help shows the usage)\n");
    EXPECT_EQ(refusal("train --dat x"),
              "iwseg: unknown option --dat; did you mean --data? (iwseg train --help shows the usage)\n");
    EXPECT_NE(refusal("bench setp").find("did you mean step?"), std::string::npos);
    EXPECT_NE(refusal("evaluate --pred x").find("did you mean --predictions?"), std::string::npos);
    EXPECT_NE(refusal("train --data").find("--data needs a value"), std::string::npos);
    EXPECT_NE(refusal("bench step --widths 4 8").find("a network of 2 widths: expected four"), std::string::npos);
    EXPECT_EQ(refusal("frobnicate"), "iwseg: unknown command frobnicate (iwseg --help shows the usage)\n");
}

TEST_F(CommandLine, ConfigurationsAreReadFromPipes) {
    if (!fs::exists(folder() / "data")) expect_done("phantom --out data --cases 4 --size 32");
    const std::string train = fmt::format("train --data data {} --out ", kTiny);
    write_text(folder() / "pipe.sh", fmt::format("{} {}piped --config <(echo 'loss = \"gdl\"')\n"
                                                 "echo 'loss = \"asl\"' | {} {}stdin --config /dev/stdin\n",
                                                 IWSEG_PROGRAM, train, IWSEG_PROGRAM, train));
    const std::string command =
        fmt::format("cd {} && OMP_NUM_THREADS=2 bash +B -e pipe.sh > out.txt 2>&1", folder().string());
    ASSERT_EQ(std::system(command.c_str()), 0) << read_text(folder() / "out.txt");
    EXPECT_NE(read_text(folder() / "piped/config.toml").find("loss = \"gdl\""), std::string::npos);
    EXPECT_NE(read_text(folder() / "stdin/config.toml").find("loss = \"asl\""), std::string::npos);
}

TEST_F(CommandLine, VersionAndInfoNameTheVersion) {
    const Result version = iwseg("--version"), info = iwseg("info");
    EXPECT_EQ(version.code, 0);
    EXPECT_TRUE(version.out.starts_with("iwseg "));
    EXPECT_NE(info.out.find(version.out.substr(6)), std::string::npos) << info.out;
    // What a report of a fault needs: the library that convolves, the processor's instructions, threads, the GPU or why
    // not.
    EXPECT_NE(info.out.find("\noneDNN    "), std::string::npos) << info.out;
    EXPECT_NE(info.out.find(", 2 threads ("), std::string::npos) << info.out;
    EXPECT_TRUE(info.out.find("\nCUDA      not used: ") != std::string::npos ||
                info.out.find("\nCUDA      built in, and a GPU is here\n") != std::string::npos)
        << info.out;
}

TEST_F(CommandLine, TrainPrintsEveryKeyWithoutADataset) {
    const Result table = iwseg("train --keys"), document = iwseg("train --keys=markdown");
    EXPECT_EQ(table.code, 0);
    EXPECT_EQ(document.code, 0);
    for (const char* key : {"loss", "focal_gamma", "checkpoint_every", "split.validation"}) {
        EXPECT_NE(table.out.find(fmt::format("\n{} ", key)), std::string::npos) << key;
        EXPECT_NE(document.out.find(fmt::format("\n| `{}` |", key)), std::string::npos) << key;
    }
    expect_refused("train --keys=html");
}

TEST_F(CommandLine, ImportRefusesFlagsThatItCannotUse) {
    const std::string checkpoint = std::string(IWSEG_GOLDEN_DIR) + "/monai/unet.pt --out imported.safetensors ";
    const auto refusal = [&](const std::string& kind, const std::string& flags) {
        return expect_refused("import " + kind + " " + checkpoint + flags).error;
    };
    for (const char* window :
         {",164", "-57,", "-inf,inf", "nan,1", "0,1e400", "0,1e39", "2,1", "1,2,3", "0,1x", "many"})
        EXPECT_NE(refusal("monai", fmt::format("--intensity={}", window)).find("--intensity " + std::string(window)),
                  std::string::npos)
            << window;
    for (const char* flag : {"--stride=0", "--stride=-8", "--stride=97", "--patch=0", "--groups=0", "--strides=8",
                             "--strides=2x2", "--norm=batch", "--activation=gelu", "--slope=inf", "--axes=xzy"}) {
        const std::string name = std::string(flag).substr(0, std::string(flag).find('='));
        EXPECT_NE(refusal("monai", flag).find(name), std::string::npos) << flag;
    }
    EXPECT_NE(refusal("nnunet", "--patch 96").find("--patch does not apply to import nnunet"), std::string::npos);
    EXPECT_NE(refusal("monai", "--folds 0").find("--folds does not apply to import monai"), std::string::npos);
    for (const char* flag :
         {"--axes xyz", "--strides 2", "--activation relu", "--slope 0.1", "--norm none", "--groups 8"})
        EXPECT_NE(refusal("original", flag).find(" does not apply to import original: it is of monai"),
                  std::string::npos)
            << flag;
    EXPECT_FALSE(fs::exists(folder() / "imported.safetensors"));
    const Result done = iwseg("import monai " + checkpoint + "--patch 32 --intensity=-57,164");
    EXPECT_EQ(done.code, 0) << done.error;
    EXPECT_NE(done.out.find("assumed  strides 2 2, axes x, y, z, instance norm, norm before activation\n"),
              std::string::npos)
        << done.out;
    EXPECT_EQ(done.out.find("note"), std::string::npos) << done.out;
}

TEST_F(CommandLine, BadUsageIsOneSentenceAndExitCode2) {
    expect_refused("");
    expect_refused("frobnicate");
    expect_refused("train --data x");
    expect_refused("train --data x --out y extra");
    write_text(folder() / "tiny.toml", "loss = \"dl\"\n");
    for (const char* command :
         {"train --out y", "evaluate --predictions p --out y", "run --config tiny.toml --out y"}) {
        EXPECT_EQ(expect_refused(fmt::format("{} --data nowhere", command)).error,
                  "iwseg: the dataset folder nowhere does not exist\n");
        EXPECT_EQ(expect_refused(fmt::format("{} --data tiny.toml", command)).error,
                  "iwseg: tiny.toml is a file, but a dataset folder was expected\n");
        EXPECT_EQ(expect_refused(fmt::format("{} --data ''", command)).error,
                  "iwseg: the dataset folder has no name: an empty string was given\n");
    }
    EXPECT_NE(expect_refused("predict --out y").error.find("--weights"), std::string::npos);
    for (const char* rule : {"--threshold 0", "--threshold 1", "--threshold 50", "--min-volume=-1"}) {
        const std::string predict = "predict --weights w.safetensors --input a.nii --out y ";
        EXPECT_NE(expect_refused(predict + rule).error.find("was expected"), std::string::npos) << rule;
    }
    expect_refused("predict --weights w.safetensors --fold all --input a.nii --out y");
    EXPECT_FALSE(fs::exists(folder() / "y"));
}

TEST_F(CommandLine, RunTrainsPredictsEvaluatesAndThenSkipsWhatExists) {
    if (!fs::exists(folder() / "data")) expect_done("phantom --out data --cases 4 --size 32");
    write_text(folder() / "tiny.toml", "loss = \"dl\"\n");
    const std::string run = fmt::format("run --data data --config tiny.toml --out whole {}", kTiny);
    expect_done(run);
    for (const char* file :
         {"config.toml", "split.json", "log.jsonl", "model.safetensors", "records.json", "report.html"})
        EXPECT_TRUE(fs::exists(folder() / "whole" / file)) << file;

    std::istringstream log(read_text(folder() / "whole/log.jsonl"));
    int steps = 0;
    for (std::string line; std::getline(log, line);) {
        const auto step = nlohmann::json::parse(line);
        EXPECT_EQ(step.at("step"), ++steps);
        for (const char* key : {"loss", "rate", "seconds", "wait", "lesion_voxels", "components"})
            EXPECT_TRUE(step.at(key).is_number()) << key;
    }
    EXPECT_EQ(steps, 6);

    const auto model_time = fs::last_write_time(folder() / "whole/model.safetensors");
    const auto report_time = fs::last_write_time(folder() / "whole/report.html");
    expect_done(run);
    EXPECT_EQ(fs::last_write_time(folder() / "whole/model.safetensors"), model_time);
    EXPECT_EQ(fs::last_write_time(folder() / "whole/report.html"), report_time);
}

TEST_F(CommandLine, LabelTakesForLesionWhatTrainingDoes) {
    Volume<std::int16_t> mask{{{2, 3, 4}}, std::vector<std::int16_t>(24)};
    mask.voxels[3] = 7, mask.voxels[20] = 1;
    write_volume(folder() / "some.nii", mask);
    const Result result = iwseg("label some.nii --out some_labels.nii");
    EXPECT_NE(result.out.find("2 components, 2 voxels of 24"), std::string::npos) << result.out << result.error;
    mask.voxels[5] = -1;
    write_volume(folder() / "below.nii", mask);
    EXPECT_NE(expect_refused("label below.nii --out below_labels.nii").error.find("below.nii holds -1 (1 voxels)"),
              std::string::npos);
}

TEST_F(CommandLine, PredictionsKeepTheScansGeometryAndAgreeWithEachOther) {
    if (!fs::exists(folder() / "data")) expect_done("phantom --out data --cases 4 --size 32");
    expect_done(fmt::format("train --data data --out trained {}", kTiny));
    const auto split = nlohmann::json::parse(read_text(folder() / "trained/split.json"));
    const std::string name = split.at("test").at(0);
    expect_done("predict --run trained --data data --out predicted");
    const auto file = [&](const std::string& out, const char* what) {
        return folder() / out / fmt::format("{}_{}.nii.gz", name, what);
    };
    const fs::path scan = folder() / fmt::format("data/imagesTr/{}_0000.nii.gz", name);
    const auto image = read_image(scan), probability = read_image(file("predicted", "prob")),
               logit = read_image(file("predicted", "logit"));
    const auto mask = read_labels(file("predicted", "mask"));
    require_same_geometry(image.geometry, scan, mask.geometry, "mask");
    require_same_geometry(image.geometry, scan, logit.geometry, "logit");
    ASSERT_EQ(mask.voxels.size(), probability.voxels.size());
    for (std::size_t v = 0; v < mask.voxels.size(); ++v)
        ASSERT_EQ(mask.voxels[v], probability.voxels[v] > 0.5f ? 1 : 0) << v;

    // The model's file alone says how its scans are read.
    expect_done(
        fmt::format("predict --weights trained/model.safetensors --input {} --out alone --save logit,prob --patch 32 "
                    "--stride 24",
                    scan.string()));
    EXPECT_EQ(read_image(file("alone", "logit")).voxels, logit.voxels);
    EXPECT_FALSE(fs::exists(file("alone", "mask")));
}

TEST_F(CommandLine, EvaluateWritesMetricsBesideTheRecords) {
    write_text(folder() / "tiny.toml", "loss = \"dl\"\n");
    if (!fs::exists(folder() / "data")) expect_done("phantom --out data --cases 4 --size 32");
    if (!fs::exists(folder() / "whole"))
        expect_done(fmt::format("run --data data --config tiny.toml --out whole {}", kTiny));
    const std::string evaluate = "evaluate --data data --predictions whole/predictions --out evaluated.json ";
    expect_done(evaluate + "--metrics panoptic,hd95 --small-diameter 4 --brats-dilation 2");
    const auto metrics = nlohmann::json::parse(read_text(folder() / "metrics.json"));
    EXPECT_EQ(metrics.at("all").size(), 2u);
    EXPECT_EQ(metrics.at("by_size").size(), 2u);
    EXPECT_NE(expect_refused(evaluate + "--metrics panoptik").error.find("panoptic"), std::string::npos);
    expect_refused(evaluate + "--metrics all --small-diameter 4 --strata 3");
}

TEST_F(CommandLine, FrocEvaluatesListsOfCandidates) {
    write_text(folder() / "nodules.csv", "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,0,0,0,10\n1.3,5,5,5,8\n");
    write_text(folder() / "excluded.csv", "seriesuid,coordX,coordY,coordZ,diameter_mm\n1.2,50,0,0,-1\n");
    write_text(folder() / "scans.csv", "1.2\n1.3\n");
    write_text(folder() / "net.csv",
               "seriesuid,coordX,coordY,coordZ,probability\n1.2,1,1,1,0.9\n1.2,52,0,0,0.8\n1.3,9,9,9,1\n");
    const std::string lists = "--candidates net.csv --annotations nodules.csv --excluded excluded.csv --seriesuids ";
    expect_done("froc " + lists + "scans.csv --out points --draws 20");
    EXPECT_TRUE(fs::exists(folder() / "points/froc.svg"));
    const auto net = nlohmann::json::parse(read_text(folder() / "points/froc.json")).at("net");
    EXPECT_EQ(net.at("found"), 1);
    EXPECT_EQ(net.at("false_positives"), 1);
    EXPECT_EQ(net.at("ignored_on_excluded"), 1);
    EXPECT_EQ(net.at("sensitivity")[6].at("recall"), 0.5);
    EXPECT_NE(expect_refused("froc " + lists + "nowhere.csv --out p").error.find("nowhere.csv"), std::string::npos);
    EXPECT_NE(expect_refused("froc --out p").error.find("--candidates"), std::string::npos);
    expect_refused("froc --candidates net.csv --out p");
    expect_refused("froc a=b.json " + lists + "scans.csv --out p");
    expect_refused("froc --max-candidates 5 --out p");
    EXPECT_FALSE(fs::exists(folder() / "p"));
}

}  // namespace
}  // namespace iwseg

// Checkpoints: those that nnU-Net saved, and archives that are damaged or made up.
#include "import/torch_checkpoint.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <map>
#include <string>

#include "base/atomic_file.h"
#include "import/zip_archive.h"
#include "tests/import/pickle_files.h"
#include "tests/support/golden.h"
#include "tests/support/refusal.h"
#include "tests/support/zip_text.h"

namespace iwseg {
namespace {

using namespace pickle_files;
using std::filesystem::path;

class TorchCheckpoints : public testing::Test {
  protected:
    void TearDown() override { std::filesystem::remove(file_); }

    /// An archive of these files, as they are or deflated.
    const path& archive(const std::map<std::string, std::string>& files, bool deflated = false) {
        std::vector<ZipContent> contents;
        for (const auto& [name, content] : files) contents.push_back({"weights/" + name, {content}, deflated});
        return packed(contents);
    }
    const path& packed(const std::vector<ZipContent>& contents) {
        write(zip_text(contents));
        return file_;
    }
    const path& with(const std::string& value, const std::string& storage) {
        return archive({{"data.pkl", pickle(value)}, {"data/0", storage}, {"byteorder", "little"}});
    }
    StoredTensor read(const std::string& value, const std::string& storage) {
        const TorchCheckpoint checkpoint(with(value, storage));
        return checkpoint.read(checkpoint.root().tensor());
    }
    void write(const std::string& bytes) { std::ofstream(file_, std::ios::binary) << bytes; }
    std::string refusal_of(const std::string& value, const std::string& storage) {
        return refusal([&] { read(value, storage); });
    }

    path file_ = std::filesystem::temp_directory_path() / ("checkpoint_" + std::to_string(getpid()) + ".pth");
};

TEST_F(TorchCheckpoints, GiveTensorsByTheirStrides) {
    const std::string six("\0\1\2\3\4\5", 6);
    const StoredTensor transposed =
        read(tensor(storage("0", 6, "ByteStorage"), 0, number(2) + number(3), number(1) + number(2)), six);
    EXPECT_EQ(transposed.type, "U8");
    EXPECT_EQ(transposed.shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ(transposed.as_f32(), (std::vector<float>{0, 2, 4, 1, 3, 5}));
    EXPECT_EQ(read(tensor(storage("0", 6, "ByteStorage"), 4, number(2), number(1)), six).as_f32(),
              (std::vector<float>{4, 5}));
    EXPECT_EQ(read(tensor(storage("0", 6, "ByteStorage"), 5, "", ""), six).as_f32(), std::vector<float>{5});
    EXPECT_TRUE(read(tensor(storage("0", 6, "ByteStorage"), 0, number(0) + number(3), number(3) + number(1)), six)
                    .as_f32()
                    .empty());
    // bf16 1.5 and f16 1.5.
    EXPECT_EQ(read(tensor(storage("0", 1, "BFloat16Storage"), 0, number(1), number(1)), "\xC0\x3F").as_f32()[0], 1.5f);
    EXPECT_EQ(read(tensor(storage("0", 1, "HalfStorage"), 0, number(1), number(1)), "\x00\x3E"s).as_f32()[0], 1.5f);
}

TEST_F(TorchCheckpoints, OfTensorsBeyondTheirStorageAreRefused) {
    const std::string eight(8, '\1');
    const auto of = [&](int elements, int offset, const std::string& sides, const std::string& strides) {
        return refusal_of(tensor(storage("0", elements), offset, sides, strides), eight);
    };
    EXPECT_TRUE(says(of(2, 0, number(3), number(1)), "reaches beyond it"));
    EXPECT_TRUE(says(of(2, 1, number(2), number(1)), "reaches beyond it"));
    EXPECT_TRUE(says(of(2, 0, number(2), number(2)), "reaches beyond it"));
    const std::string most = "\x8A\x08\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F";
    EXPECT_TRUE(says(of(2, 0, most + most, most + most), "reaches beyond it"));
    EXPECT_TRUE(says(of(2, 0, most, number(0)), "more elements than it"));
    EXPECT_TRUE(says(of(3, 0, number(3), number(1)), "has 8 bytes, expected 12"));
    EXPECT_TRUE(says(refusal_of(tensor(storage("1", 2), 0, number(2), number(1)), eight), "data/1 is missing"));
}

TEST_F(TorchCheckpoints, ThatAreNoneOrDamagedAreRefused) {
    const std::string state = pickle(tensor(storage("0", 2), 0, number(2), number(1))), two(8, '\0');
    const auto opened = [&] { TorchCheckpoint checkpoint(file_); };
    EXPECT_TRUE(says(refusal(opened), "no file " + file_.string()));
    write("something else");
    EXPECT_TRUE(says(refusal(opened), "no zip archive"));
    write(pickle("N"));
    EXPECT_TRUE(says(refusal(opened), "before PyTorch 1.6"));
    archive({{"data/0", two}});
    EXPECT_TRUE(says(refusal(opened), "no data.pkl"));
    archive({{"data.pkl", state}, {"data/0", two}, {"byteorder", "big"}});
    EXPECT_TRUE(says(refusal(opened), "first byte first"));
    archive({{"data.pkl", pickle(tuple(std::string(10000, 'N')))}}, true);
    EXPECT_TRUE(says(refusal(opened), "is compressed"));
    const std::string whole = read_text(with(tensor(storage("0", 2), 0, number(2), number(1)), two));
    for (std::size_t size = 0; size < whole.size(); size += 7) {
        write(whole.substr(0, size));
        EXPECT_FALSE(refusal(opened).empty()) << size << " bytes";
    }
    std::string changed = whole;
    changed[changed.find(two)] = '\1';
    write(changed);
    const TorchCheckpoint checkpoint(file_);
    EXPECT_TRUE(says(refusal([&] { checkpoint.read(checkpoint.root().tensor()); }), "checksum"));
}

TEST_F(TorchCheckpoints, OfTorchSave) {
    // By PyTorch 2.15: arange(6).reshape(2, 3), two bf16 ones, numpy.float64(1.5), a device, a tuple.
    const path file = kept_golden("../fuzz/checkpoint/small.pth");
    if (!std::filesystem::exists(file)) GTEST_SKIP() << "needs " << file;
    const TorchCheckpoint checkpoint(file);
    const Pickle::Value root = checkpoint.root(), weights = root.at("network_weights");
    EXPECT_EQ(checkpoint.read(weights.at("a").tensor()).as_f32(), (std::vector<float>{0, 1, 2, 3, 4, 5}));
    EXPECT_EQ(checkpoint.read(weights.at("b").tensor()).as_f32(), (std::vector<float>{1, 1}));
    EXPECT_EQ(root.at("n").real(), 1.5);
    EXPECT_EQ(root.at("axes")[2].integer(), 2);
}

TEST_F(TorchCheckpoints, OfNnunetHoldWhatItTrained) {
    const path folder = golden_file("nnunet");
    if (!std::filesystem::exists(folder)) GTEST_SKIP() << "needs " << folder;
    for (const char* model : {"plain", "resenc"}) {
        const TorchCheckpoint checkpoint(folder / model / "model" / "fold_0" / "checkpoint_final.pth");
        const Pickle::Value root = checkpoint.root();
        EXPECT_EQ(root.at("trainer_name").text(), "nnUNetTrainer");
        EXPECT_EQ(root.at("init_args").at("configuration").text(), "3d_fullres");
        EXPECT_EQ(root.at("inference_allowed_mirroring_axes").size(), model == std::string("plain") ? 3u : 2u);
        EXPECT_EQ(root.at("init_args").at("device").text(), "cpu");
        std::int64_t elements = 0;
        double squares = 0;
        for (const auto& [name, value] : root.at("network_weights").entries()) {
            const StoredTensor tensor = checkpoint.read(value.tensor());
            for (const float one : tensor.as_f32()) squares += double{one} * one;
            elements += tensor.elements();
        }
        // By torch.load: sum(v.numel() for v in w.values()), and sum((v.double() ** 2).sum() for v in w.values()).
        EXPECT_EQ(elements, model == std::string("plain") ? 52822 : 147562);
        EXPECT_NEAR(squares, model == std::string("plain") ? 2324.473564882193 : 4909.330280824141, 1e-6 * squares);
    }
}

}  // namespace
}  // namespace iwseg

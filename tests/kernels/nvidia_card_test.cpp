#include "kernels/device/nvidia_card.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

#include "engine/context.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

class NvidiaCard : public testing::Test {
  protected:
    ~NvidiaCard() override { fs::remove_all(root_); }

    void put_on_bus(const std::string& place, const std::string& vendor, const std::string& kind) const {
        const fs::path device = root_ / "sys/bus/pci/devices" / place;
        fs::create_directories(device);
        std::ofstream(device / "vendor") << vendor << "\n";
        std::ofstream(device / "class") << kind << "\n";
    }

    const fs::path root_ = fs::path(testing::TempDir()) / ("nvidia_card_" + std::to_string(::getpid()));
};

TEST_F(NvidiaCard, IsKnownByTheBusOrByItsDriversDevice) {
    EXPECT_FALSE(has_nvidia_card(root_)) << "no bus at all";
    put_on_bus("0000:00:02.0", "0x8086", "0x030000");
    put_on_bus("0000:01:00.0", "0x10de", "0x020700");
    EXPECT_FALSE(has_nvidia_card(root_)) << "another maker's, and a network card";
    put_on_bus("0000:02:00.0", "0x10de", "0x030200");
    EXPECT_TRUE(has_nvidia_card(root_));
    fs::remove_all(root_);
    fs::create_directories(root_ / "dev");
    std::ofstream(root_ / "dev/nvidiactl") << "";
    EXPECT_TRUE(has_nvidia_card(root_));
}

TEST_F(NvidiaCard, ThatIsNotUsedIsSpokenOfWhereThereIsOne) {
    const std::string why = "this machine has no NVIDIA driver";
    EXPECT_EQ(unused_card_text(why, root_), "");
    put_on_bus("0000:02:00.0", "0x10de", "0x030200");
    EXPECT_EQ(unused_card_text(why, root_), "; the NVIDIA GPU is not used (this machine has no NVIDIA driver)");
    EXPECT_EQ(unused_card_text("", root_), "") << "it is used";
}

TEST_F(NvidiaCard, IsNotSpokenOfWhereTheCpuWasAskedFor) {
    EXPECT_EQ(Context({"cpu"}).description().find("NVIDIA"), std::string::npos);
}

}  // namespace
}  // namespace iwseg

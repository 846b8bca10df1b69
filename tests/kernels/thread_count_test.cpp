#include "kernels/cpu/thread_count.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include "base/error.h"
#include "engine/context.h"

namespace iwseg {
namespace {

namespace fs = std::filesystem;

/// A machine's /proc and control groups, as files of a folder.
class Groups : public testing::Test {
  protected:
    Groups()
        : root_(fs::temp_directory_path() /
                ("iwseg_cgroup_" + std::to_string(::getpid()) + "_" + std::to_string(std::random_device{}()))) {}
    ~Groups() override { fs::remove_all(root_); }

    void write(const std::string& file, const std::string& text) const {
        const fs::path path = root_ / file;
        fs::create_directories(path.parent_path());
        std::ofstream(path) << text;
    }
    std::optional<double> quota() const { return cgroup_quota(root_ / "cgroup", root_ / "mountinfo", root_); }

    fs::path root_;
};

TEST_F(Groups, OfVersionTwoGrantWhatTheSmallestAroundGrants) {
    write("mountinfo",
          "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
          "30 22 0:26 / /sys/fs/cgroup rw,nosuid shared:9 master:2 - cgroup2 cgroup2 rw,nsdelegate\n");
    write("cgroup", "0::/slurm/job_7/step_0\n");
    EXPECT_EQ(quota(), std::nullopt) << "no file: no limit";
    write("sys/fs/cgroup/slurm/job_7/step_0/cpu.max", "max 100000\n");
    EXPECT_EQ(quota(), std::nullopt);
    write("sys/fs/cgroup/slurm/cpu.max", "800000 100000\n");
    EXPECT_EQ(quota(), 8.0);
    write("sys/fs/cgroup/slurm/job_7/cpu.max", "150000 100000\n");
    EXPECT_EQ(quota(), 1.5);
    write("sys/fs/cgroup/slurm/job_7/step_0/cpu.max", "100000 50000\n");
    EXPECT_EQ(quota(), 1.5) << "the group around it grants less";
}

TEST_F(Groups, OfAContainerAreTheRootOfWhatItSees) {
    write("mountinfo", "30 22 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    write("cgroup", "0::/\n");
    write("sys/fs/cgroup/cpu.max", "250000 100000\n");
    EXPECT_EQ(quota(), 2.5);
    write("cgroup", "0::/../elsewhere\n");
    EXPECT_EQ(quota(), 2.5) << "a group outside of the namespace";
}

TEST_F(Groups, OfVersionOneAreReadBelowTheMountsRoot) {
    write("mountinfo",
          "31 22 0:27 /docker/ab12 /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
          "32 22 0:28 /docker/ab12 /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset\n");
    write("cgroup",
          "5:cpuset:/docker/ab12\n4:cpu,cpuacct:/docker/ab12\n1:name=systemd:/docker/ab12\n0::/docker/ab12\n");
    write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
    EXPECT_EQ(quota(), std::nullopt) << "-1: no limit";
    write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n");
    EXPECT_EQ(quota(), 0.5);
    write("sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_quota_us", "30000\n");
    write("sys/fs/cgroup/cpu,cpuacct/inner/cpu.cfs_period_us", "100000\n");
    write("cgroup", "4:cpu,cpuacct:/docker/ab12/inner\n");
    EXPECT_EQ(quota(), 0.3);
}

TEST_F(Groups, ThatCannotBeReadSetNoLimit) {
    EXPECT_EQ(quota(), std::nullopt);
    write("cgroup", "nonsense\n0:\n0::/a\n");
    write("mountinfo", "30 22 0:26\n\n30 22 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
    for (const char* text : {"", "max", "abc 100000", "100000", "100000 0", "-5 100000"}) {
        write("sys/fs/cgroup/a/cpu.max", text);
        EXPECT_EQ(quota(), std::nullopt) << text;
    }
}

TEST(ThreadCount, IsTheLeastOfCoresAffinityAndQuota) {
    EXPECT_EQ(count_threads({8, 8, {}, ""}).text(), "8 threads (all 8 cores)");
    EXPECT_EQ(count_threads({1, 1, {}, ""}).text(), "1 thread (one core)");
    EXPECT_EQ(count_threads({64, 4, {}, ""}).text(), "4 threads (64 cores, of which this process may run on 4)");
    EXPECT_EQ(count_threads({64, 64, 1.5, ""}).text(), "2 threads (a CPU quota of 1.5 on 64 cores)");
    EXPECT_EQ(count_threads({64, 64, 0.2, ""}).text(), "1 thread (a CPU quota of 0.2 on 64 cores)");
    EXPECT_EQ(count_threads({64, 4, 3.5, ""}).threads, 4);
    EXPECT_EQ(count_threads({4, 4, 16.0, ""}).text(), "4 threads (all 4 cores)");
}

TEST(ThreadCount, IsWhatOpenMpIsTold) {
    EXPECT_EQ(count_threads({8, 8, 2.0, "3"}).text(), "3 threads (OMP_NUM_THREADS)");
    EXPECT_EQ(count_threads({8, 8, {}, " 6 "}).threads, 6);
    EXPECT_EQ(count_threads({8, 8, {}, "5,2"}).threads, 5);
    EXPECT_EQ(count_threads({8, 8, {}, "4096"}).threads, kMostThreads);
    for (const char* text : {"0", "-2", "x", "4x", "99999999999", ",", "4097", "70000"})
        EXPECT_EQ(count_threads({8, 8, {}, text}).threads, 8) << text;
}

TEST(ThreadCount, HasOneBound) {
    EXPECT_EQ(count_threads(kMostThreads).threads, kMostThreads);
    EXPECT_THROW(count_threads(kMostThreads + 1), InputError);
    EXPECT_THROW(Context({.device = "cpu", .threads = 70000}), InputError);
}

TEST(ThreadCount, OfAContextIsWhatItIsAskedFor) {
    EXPECT_EQ(Context({.device = "cpu", .threads = 3}).threads(), 3);
    EXPECT_NE(Context({.device = "cpu", .threads = 3}).description().find(", 3 threads (as asked for)"),
              std::string::npos);
}

TEST(ThreadCount, FollowsTheAffinityOfTheThreadThatAsks) {
    int asked = 0;
    std::thread([&] {
        cpu_set_t one;
        CPU_ZERO(&one);
        CPU_SET(::sched_getcpu(), &one);
        ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
        asked = processor_share().allowed;
    }).join();
    EXPECT_EQ(asked, 1);
}

}  // namespace
}  // namespace iwseg

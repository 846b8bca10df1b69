// What reading a scan is said to take, against what it takes.
#include <gtest/gtest.h>
#include <malloc.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <new>
#include <string>

#include "data/volume/nifti.h"
#include "tests/data/nifti_files.h"

namespace {

// Of the whole process; zlib's few megabytes, which it takes by malloc, are not in it.
std::atomic<std::int64_t> held = 0, most_held = 0;

}  // namespace

[[gnu::noinline]] void* operator new(std::size_t bytes) {
    void* const memory = std::malloc(bytes);
    if (!memory) throw std::bad_alloc();
    const std::int64_t now = held += static_cast<std::int64_t>(malloc_usable_size(memory));
    most_held = std::max<std::int64_t>(most_held, now);
    return memory;
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
    if (memory) held -= static_cast<std::int64_t>(malloc_usable_size(memory));
    std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
    operator delete(memory);
}
// AddressSanitizer has operators of its own for arrays, which would not ask the ones above.
[[gnu::noinline]] void* operator new[](std::size_t bytes) {
    return operator new(bytes);
}
[[gnu::noinline]] void operator delete[](void* memory) noexcept {
    operator delete(memory);
}
[[gnu::noinline]] void operator delete[](void* memory, std::size_t) noexcept {
    operator delete(memory);
}

namespace iwseg {
namespace {

class ReadingMemory : public NiftiFiles {
  protected:
    static constexpr std::int16_t side = 96;
    static constexpr std::int64_t voxels = std::int64_t{side} * side * side;

    /// Voxels of as many bytes, for each of the channels: drawn at random, which does not shrink, or all 0.
    std::string scan(std::int16_t type, std::int16_t bytes, std::int16_t channels, bool random) {
        RawNifti raw;
        raw.dim = {static_cast<std::int16_t>(channels > 1 ? 4 : 3), side, side, side, channels, 1, 1, 1};
        raw.type = type, raw.bits = static_cast<std::int16_t>(8 * bytes);
        raw.voxels.assign(static_cast<std::size_t>(voxels * bytes * channels), '\0');
        if (random)
            for (char& c : raw.voxels) c = static_cast<char>(random_());
        return raw.bytes();
    }

    /// Members of 64 KiB each, as bgzip writes them, and its empty last one.
    std::filesystem::path save_members(const std::string& name, const std::string& bytes) const {
        std::string all;
        constexpr std::size_t member = 65280;
        for (std::size_t at = 0; at <= bytes.size() + member; at += member) {
            save_gz("member.gz", at < bytes.size() ? bytes.substr(at, member) : "");
            std::ifstream in(folder_ / "member.gz", std::ios::binary);
            all.append(std::istreambuf_iterator<char>(in), {});
        }
        return save(name, all);
    }

    static std::int64_t bytes_taken(const std::filesystem::path& file, std::int64_t channel) {
        const std::int64_t before = held;
        most_held = before;
        const Volume<float> volume = read_nifti_channel(file, channel);
        EXPECT_EQ(std::ssize(volume.voxels), voxels);
        return most_held - before;
    }
    /// What is said is no less than what is taken, and at most a tenth more.
    static void expect_right(const std::filesystem::path& file, std::int64_t channel = 0) {
        const auto said = static_cast<double>(nifti_reading_bytes(file)),
                   taken = static_cast<double>(bytes_taken(file, channel));
        EXPECT_LE(taken, 1.01 * said) << file;  // a little is held beside the voxels
        EXPECT_LE(said, 1.1 * taken) << file;
    }
};

TEST_F(ReadingMemory, OfAPlainFileIsItsVoxelsAndTheResult) {
    for (const auto& [type, bytes] : {std::pair<int, int>{2, 1}, {4, 2}, {16, 4}, {64, 8}})
        expect_right(
            save("plain.nii", scan(static_cast<std::int16_t>(type), static_cast<std::int16_t>(bytes), 1, false)));
}

TEST_F(ReadingMemory, OfAChannelIsThatOfOneVolume) {
    expect_right(save("four.nii", scan(4, 2, 3, false)), 2);
    expect_right(save_gz("four.nii.gz", scan(4, 2, 3, true)), 1);
}

TEST_F(ReadingMemory, OfACompressedFileCountsWhatIsHeldAtOnce) {
    for (const bool random : {false, true}) {
        expect_right(save_gz("bytes.nii.gz", scan(2, 1, 1, random)));
        expect_right(save_gz("doubles.nii.gz", scan(64, 8, 1, random)));
    }
}

TEST_F(ReadingMemory, OfSeveralMembersIsNoMoreThanOfOne) {
    for (const bool random : {false, true}) {
        const std::string bytes = scan(4, 2, 1, random);
        const std::filesystem::path members = save_members("members.nii.gz", bytes), one = save_gz("one.nii.gz", bytes);
        expect_right(members);
        EXPECT_TRUE(read_nifti_image(members).voxels == read_nifti_image(one).voxels);
    }
    // What follows the voxels is left alone, and the first attempt's memory is given back before the second.
    expect_right(save_members("longer.nii.gz", scan(4, 2, 1, false) + std::string(100'000, 'x')));
}

}  // namespace
}  // namespace iwseg

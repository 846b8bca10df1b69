#pragma once

#include <gtest/gtest.h>

#include <iostream>

#include "base/error.h"
#include "studies/study.h"
#include "tests/studies/raw_studies.h"

/// What the tests of LUNA16 and LiTS share: their fixture, and cropping written as plainly as can be.
namespace iwseg {

using Bytes = std::vector<std::uint8_t>;

/// The sentence of the InputError that the work throws; empty where it throws none.
template <class Work>
std::string refusal(Work&& work) {
    try {
        work();
    } catch (const InputError& error) {
        EXPECT_EQ(std::string(error.what()).find('\n'), std::string::npos) << error.what();
        return error.what();
    }
    return "";
}

inline bool says(const std::string& message, const std::string& part) {
    return message.find(part) != std::string::npos;
}

class Studies : public testing::Test {
  protected:
    Studies() { std::cout << "seed " << seed_ << "\n"; }

    unsigned seed_ = std::random_device{}();
    std::mt19937 random_{seed_};
    ScratchFolder folder_;
};

struct Plain {
    Extent first{}, end{};
    std::vector<float> ct;
    Bytes lungs, target;
};

/// The mask's box and 5 voxels more, limited to the scan; what lies in it.
inline void box_and_crop(Plain& plain, const Bytes& mask, const Extent& shape, const std::vector<std::int16_t>& ct,
                         const Bytes& full_target) {
    plain.first = shape;
    for (std::int64_t i = 0; i < shape[0]; ++i)
        for (std::int64_t j = 0; j < shape[1]; ++j)
            for (std::int64_t k = 0; k < shape[2]; ++k)
                if (mask[at(shape, i, j, k)])
                    for (int a = 0; a < 3; ++a) {
                        const std::int64_t here = a == 0 ? i : a == 1 ? j : k;
                        plain.first[a] = std::min(plain.first[a], std::max<std::int64_t>(here - 5, 0));
                        plain.end[a] = std::max(plain.end[a], std::min(here + 6, shape[a]));
                    }
    for (std::int64_t i = plain.first[0]; i < plain.end[0]; ++i)
        for (std::int64_t j = plain.first[1]; j < plain.end[1]; ++j)
            for (std::int64_t k = plain.first[2]; k < plain.end[2]; ++k) {
                plain.ct.push_back(ct[at(shape, i, j, k)]);
                plain.lungs.push_back(mask[at(shape, i, j, k)]);
                plain.target.push_back(full_target[at(shape, i, j, k)]);
            }
}

inline const RawCase& find(const Study& study, const std::string& name) {
    for (const RawCase& scan : study.cases())
        if (scan.name == name) return scan;
    throw InputError("no scan " + name);
}

inline void expect_equal(const StudyCase& got, const Plain& plain) {
    ASSERT_EQ(got.box, (VoxelBox{plain.first, plain.end}));
    EXPECT_EQ(got.image.voxels, plain.ct);
    EXPECT_EQ(got.target.voxels, plain.target);
    if (got.mask) {
        EXPECT_EQ(got.mask->voxels, plain.lungs);
    }
    EXPECT_EQ(got.target.geometry.affine, got.image.geometry.affine);
}

}  // namespace iwseg

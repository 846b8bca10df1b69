#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "tests/support/golden.h"
#include "tests/support/lesion_batches.h"

// Terms of single lesions by their authors' own code (tests/golden/lesion_terms.py), those of voxels by MONAI's and
// nnU-Net's (voxel_losses.py): values to 1e-5, gradients to 1e-4 of the largest.
namespace iwseg {
namespace {

class LesionGolden : public LossKernel {
  protected:
    void expect_golden(const char* kept, std::size_t terms);
};

}  // namespace

void LesionGolden::expect_golden(const char* kept, std::size_t terms) {
    std::ifstream file(kept_golden(kept));
    const auto golden = nlohmann::json::parse(file);
    const auto sides = golden.at("shape").get<std::vector<std::int64_t>>();
    const Shape shape{sides[0], sides[1], sides[2], sides[3], sides[4]};
    Mask target(static_cast<std::size_t>(shape.elements()), 0);
    for (const std::size_t voxel : golden.at("lesion")) target[voxel] = 1;
    std::mt19937 random;
    Batch b = lesion_batch(shape, target, golden.at("connectivity"), 1.0, random);
    b.logit = golden.at("logits").get<std::vector<float>>();
    ASSERT_EQ(golden.at("terms").size(), terms);
    for (const auto& [name, expected] : golden.at("terms").items()) {
        SCOPED_TRACE(name);
        const Result found = compute(loss_from_name(name), b);
        EXPECT_NEAR(found.value, expected.at("value"), 1e-5 * expected.at("value").get<double>());
        if (!expected.contains("gradient")) continue;  // the authors' has none
        const auto gradient = expected.at("gradient").get<std::vector<float>>();
        for (std::size_t v = 0; v < gradient.size(); ++v)
            ASSERT_NEAR(found.gradient[v], gradient[v], 1e-4 * largest(gradient)) << "voxel " << v;
    }
}

TEST_P(LesionGolden, TheAuthorsCodeGivesTheSame) {
    expect_golden("lesion_terms.json", 3);
}

TEST_P(LesionGolden, MonaiAndNnunetGiveTheSame) {
    expect_golden("voxel_losses.json", 10);
}

INSTANTIATE_TEST_SUITE_P(On, LesionGolden, testing::Values(TestBackend::cpu, TestBackend::simt, TestBackend::cuda),
                         [](const auto& test) { return std::string(name_of(test.param)); });

}  // namespace iwseg

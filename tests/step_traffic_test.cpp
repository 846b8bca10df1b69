// What goes to a device and how many kernels run there: of a prediction and of a training step, counted on the
// executor.
#define IWSEG_SIMT
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "models/grid_prediction.h"
#include "models/initialisation.h"
#include "tests/simt.h"
#include "tests/simt_backend.h"

namespace iwseg {
namespace {

/// The executor's kernels, with what is copied to its device counted.
struct Counted {
    Counted() {
        bytes = 0;
        table.copy_to_device = [](Stream stream, const void* from, void* to, std::int64_t count) {
            bytes += count;
            simt::copy_to_device(stream, from, to, count);
        };
    }
    Kernels table = simt::kernels();
    static inline std::int64_t bytes = 0;
};

TEST(PredictionTraffic, OnlyTheScanIsCopiedToTheDevice) {
    Counted counted;
    Context context(counted.table, {});
    Parameters parameters;
    GridPredictor predictor(context, parameters, {1, 1, {4, 4, 8, 8}}, {8, 8});
    initialise(context, parameters, 1);
    std::mt19937 random(std::random_device{}());
    std::vector<float> scan(9 * 8 * 11);
    for (float& value : scan) value = std::normal_distribution<float>()(random);
    predictor.predict(scan.data(), 9, 8, 11);  // parameters are copied once
    counted.bytes = 0;
    predictor.predict(scan.data(), 9, 8, 11);
    EXPECT_EQ(counted.bytes, static_cast<std::int64_t>(scan.size() * sizeof(float)));
}

}  // namespace
}  // namespace iwseg

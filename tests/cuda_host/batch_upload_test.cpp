// A batch's way to the card beside the step that is at work, on a card that does everything as late as it may; and the
// stream that it takes, with every call failing in turn.
#include "training/batch_upload.h"

#include <memory>
#include <random>
#include <vector>

#include "base/bytes.h"
#include "kernels/components/ignored.h"
#include "kernels/device/bf16.h"
#include "kernels/device/staged.h"
#include "tests/cuda_host/cuda_failures.h"

namespace iwseg {
namespace {

/// As many labels a sample as `stride`, of which some are ignored.
Batch batch_of(const Shape& shape, std::int64_t stride, std::mt19937& random) {
    Batch batch;
    batch.shape = shape;
    batch.stride = stride;
    for (std::int64_t i = 0; i < shape.elements(); ++i)
        batch.image.push_back(std::uniform_real_distribution<float>(-2, 2)(random));
    for (std::int64_t i = 0; i < shape.n * shape.voxels(); ++i) {
        const auto label = static_cast<std::int32_t>(random() % static_cast<std::uint64_t>(stride + 1)) - 1;
        batch.labels.push_back(label);
        batch.target.push_back(target_of_label(label));
    }
    for (std::int64_t i = 0; i < shape.n * stride; ++i) batch.weights.push_back(static_cast<float>(random() % 100));
    return batch;
}

/// What steps read, in one buffer.
class StepMemory {
  public:
    StepMemory(const Shape& shape, std::int64_t stride)
        : target_(kMemoryAlignment + aligned(shape.elements() * 4)),
          labels_(target_ + aligned(shape.n * shape.voxels())),
          weights_(labels_ + aligned(shape.n * shape.voxels() * 4)),
          memory_(cuda::backend(), weights_ + aligned(shape.n * stride * 4)),
          stride_(stride) {}

    StepPlaces places() const {
        char* data = memory_.data();
        return {reinterpret_cast<UpdateStep*>(data),
                reinterpret_cast<float*>(data + kMemoryAlignment),
                reinterpret_cast<std::uint8_t*>(data + target_),
                reinterpret_cast<std::int32_t*>(data + labels_),
                reinterpret_cast<float*>(data + weights_),
                stride_};
    }
    const DeviceMemory& memory() const { return memory_; }
    /// The learning rate, the image, the target, the labels and the weights of a batch, from a copy of the memory.
    Values read(const char* copy, const Batch& batch) const {
        Values values{reinterpret_cast<const UpdateStep*>(copy)->rate};
        const auto add = [&](const auto* from, std::size_t count) { values.insert(values.end(), from, from + count); };
        add(reinterpret_cast<const float*>(copy + kMemoryAlignment), batch.image.size());
        add(reinterpret_cast<const std::uint8_t*>(copy + target_), batch.target.size());
        add(reinterpret_cast<const std::int32_t*>(copy + labels_), batch.labels.size());
        const auto stride = static_cast<std::size_t>(batch.stride);
        for (std::int64_t n = 0; n < batch.shape.n; ++n)
            add(reinterpret_cast<const float*>(copy + weights_) + n * stride_, stride);
        return values;
    }

  private:
    std::int64_t target_, labels_, weights_;
    DeviceMemory memory_;
    std::int64_t stride_;
};

Values expected_of(const Batch& batch, float learning_rate, bool bf16) {
    Values values{learning_rate};
    for (const float one : batch.image) values.push_back(bf16 ? round_to_bf16(one) : one);
    values.insert(values.end(), batch.target.begin(), batch.target.end());
    values.insert(values.end(), batch.labels.begin(), batch.labels.end());
    values.insert(values.end(), batch.weights.begin(), batch.weights.end());
    return values;
}

/// Sends the batches one after another. What stands for a step reads its memory twice: right after the batch, and
/// after other work, when the next batch is on its way. Returns what the steps read, of which both must be the same.
std::vector<Values> send(const std::vector<Batch>& batches, std::int64_t most_labels, bool bf16) {
    const Backend& device = cuda::backend();
    Context context(device, {});
    const StepMemory step(batches[0].shape, most_labels);
    const DeviceMemory other(device, 1 << 12);
    std::vector<std::unique_ptr<HostMemory>> read;
    {
        BatchUpload upload(context, bf16);
        for (std::size_t i = 0; i < batches.size(); ++i) {
            Batch batch = batches[i];
            upload.send(batch, {.rate = 0.5f + static_cast<float>(i)}, step.places());
            batch = {};  // may change now
            for (int twice = 0; twice < 2; ++twice) {
                read.push_back(std::make_unique<HostMemory>(device, step.memory().bytes()));
                device.copy_to_host(context.stream(), step.memory().data(), read.back()->data(), step.memory().bytes());
                for (int work = 0; work < 4; ++work) device.set_zero(context.stream(), other.data(), other.bytes());
            }
        }
        device.synchronise(context.stream());
    }
    std::vector<Values> values;
    for (std::size_t i = 0; i < batches.size(); ++i) {
        values.push_back(step.read(read[2 * i]->data(), batches[i]));
        EXPECT_EQ(step.read(read[2 * i + 1]->data(), batches[i]), values.back()) << "a step saw the next batch";
    }
    return values;
}

TEST_F(CudaHost, ABatchIsThereForItsStepAndNotBefore) {
    std::mt19937 random(std::random_device{}());
    const auto side = [&] { return 1 + static_cast<std::int64_t>(random() % 6); };
    const Shape shape{2, 1, side(), side(), side()};
    // The third has labels that 16 bits do not hold, and more bytes than there was room for.
    const std::int64_t many = kShortIgnored + 3;
    std::vector<Batch> batches;
    for (const std::int64_t stride : {std::int64_t{2}, std::int64_t{5}, many, std::int64_t{kShortIgnored}})
        batches.push_back(batch_of(shape, stride, random));
    for (const bool bf16 : {false, true})
        for (std::uint64_t seed = 0; seed < 8; ++seed) {
            SCOPED_TRACE("card " + std::to_string(seed));
            expect_clean();
            standin::insert_card({.seed = seed});
            const std::vector<Values> got = send(batches, many, bf16);
            for (std::size_t i = 0; i < batches.size(); ++i)
                EXPECT_EQ(got[i], expected_of(batches[i], 0.5f + static_cast<float>(i), bf16)) << "batch " << i;
        }
}

TEST_F(CudaFailures, OfBatchesOnTheirWay) {
    std::mt19937 random(1);
    std::vector<Batch> batches;
    for (const std::int64_t stride : {2, 3000, 4}) batches.push_back(batch_of({1, 1, 2, 3, 5}, stride, random));
    fail_in_turn(
        [&] {
            Values all;
            for (const Values& one : send(batches, 3000, true)) all.insert(all.end(), one.begin(), one.end());
            return all;
        },
        1000, standin::Failure::once, 0);
}

TEST_F(CudaFailures, OfAStreamThatIsOpened) {
    const auto open = [] {
        const DeviceStream stream(cuda::backend());
        unsigned counters[kStreamCounters];
        std::fill_n(counters, kStreamCounters, 1u);
        cuda::copy_to_host(stream.get(), stream.get().counters, counters, sizeof counters);
        cuda::synchronise(stream.get());
        return Values(counters, counters + kStreamCounters);
    };
    EXPECT_EQ(open(), Values(kStreamCounters, 0.0f));
    fail_in_turn(open, 1000, standin::Failure::once, 0);
    fail_in_turn(open, 1000, standin::Failure::memory, 0);
}

}  // namespace
}  // namespace iwseg

#include "kernels/loss/lesion_maximum.h"

#include <algorithm>
#include <atomic>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/loss/lesion_input.h"
#include "kernels/loss/lesion_key.h"
#include "kernels/loss/loss_pass.h"

// Keys of each label, whose largest is found in chunks of voxels: which chunk comes first does not matter.
namespace iwseg::cpu {
namespace {

using formulas::LesionKey;

constexpr const char* kOperation = "lesion_maximum";

/// Scratch: what a lesion's gradient is multiplied by, then the keys, (N, stride).
struct Scratch {
    double* share;
    LesionKey* keys;

    explicit Scratch(void* memory)
        : share(static_cast<double*>(memory)), keys(reinterpret_cast<LesionKey*>(share + 1)) {}
};

template <class T>
void find_maxima(Stream stream, const LossInput& input, LesionKey* keys) {
    const std::int64_t voxels = input.logit.shape.voxels(), chunks = chunks_in(voxels, 1);
    parallel_for(stream, input.logit.shape.n * chunks, [&](std::int64_t i) {
        const std::int64_t n = i / chunks, first = i % chunks * chunk_voxels(1);
        const T* logit = input.logit.as<const T>() + n * voxels;
        for (std::int64_t v = first; v < std::min(first + chunk_voxels(1), voxels); ++v) {
            if (input.target[n * voxels + v] != 1) continue;
            const std::atomic_ref<LesionKey> place(keys[n * input.stride + input.labels[n * voxels + v]]);
            const LesionKey key = formulas::lesion_key(to_f32(logit[v]), v);
            LesionKey before = place.load(std::memory_order_relaxed);
            while (before < key && !place.compare_exchange_weak(before, key, std::memory_order_relaxed)) {
            }
        }
    });
}

}  // namespace

std::int64_t lesion_maximum_scratch_bytes(const Shape& logit, std::int64_t stride) {
    return static_cast<std::int64_t>(sizeof(double)) + logit.n * stride * static_cast<std::int64_t>(sizeof(LesionKey));
}

void lesion_maximum_value(Stream stream, const LesionMaximumPass& pass, const LossInput& input, void* memory,
                          double* value, Write write) {
    formulas::require_lesion_input(input, kOperation);
    const Scratch scratch(memory);
    const std::int64_t labels = input.logit.shape.n * input.stride;
    std::fill_n(scratch.keys, labels, LesionKey{0});
    with_real(input.logit.type, [&](auto real) { find_maxima<decltype(real)>(stream, input, scratch.keys); });
    double sum = 0, lesions = 0;
    for (std::int64_t i = 0; i < labels; ++i) {
        if (scratch.keys[i] == 0) continue;
        const float z = formulas::logit_of(scratch.keys[i]);
        sum += softplus(-z, sigmoid(z));
        ++lesions;
    }
    double share = lesions > 0 ? pass.factor / lesions : 0;
    const double found =
        formulas::share_of(formulas::warmed_up(pass.warmup, input.step), lesions > 0 ? share * sum : 0, &share, 1);
    *scratch.share = share;
    *value = write == Write::overwrite ? found : *value + found;
}

void lesion_maximum_gradient(Stream stream, const LesionMaximumPass&, const LossInput& input, const void* memory,
                             View diff_logit, Write write) {
    formulas::require_gradient_of(input, diff_logit, kOperation);
    const Scratch scratch(const_cast<void*>(memory));
    const std::int64_t voxels = input.logit.shape.voxels();
    const auto share = static_cast<float>(*scratch.share);
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        T* const to = diff_logit.as<T>();
        if (write == Write::overwrite)
            parallel_ranges(stream, input.logit.shape.n * voxels,
                            [&](std::int64_t first, std::int64_t last) { std::fill(to + first, to + last, T{}); });
        for (std::int64_t i = 0; i < input.logit.shape.n * input.stride; ++i) {
            const LesionKey key = scratch.keys[i];
            if (key == 0 || share == 0) continue;
            T& place = to[i / input.stride * voxels + formulas::voxel_of(key)];
            store(place, to_f32(place) - share * sigmoid(formulas::logit_of(key)).q);
        }
    });
}

}  // namespace iwseg::cpu

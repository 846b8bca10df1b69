#include <algorithm>
#include <functional>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/loss/hardest_selection.h"
#include "kernels/loss/hardest_voxels.h"

// Keys of all voxels, of which those that are known are put beside each other and parted at the last one that counts.
namespace iwseg::cpu {
namespace {

using formulas::HardestSelection, formulas::HardKey;

/// Scratch: which voxels count, sums of chunks, keys of voxels, and those of the known ones.
struct Scratch {
    HardestSelection* selection;
    double* parts;
    HardKey *keys, *known;

    Scratch(void* memory, const Shape& shape)
        : selection(static_cast<HardestSelection*>(memory)),
          parts(reinterpret_cast<double*>(selection + 1)),
          keys(reinterpret_cast<HardKey*>(parts + chunks_in(shape.elements(), 1))),
          known(keys + shape.elements()) {
        static_assert(sizeof(HardestSelection) % sizeof(double) == 0);
    }
};

template <class Body>
void each_chunk(Stream stream, std::int64_t voxels, Body&& body) {
    parallel_for(stream, chunks_in(voxels, 1), [&](std::int64_t chunk) {
        const std::int64_t first = chunk * chunk_voxels(1);
        body(chunk, first, std::min(first + chunk_voxels(1), voxels));
    });
}

template <class T>
IWSEG_VECTOR_CLONES void find_keys(const T* logit, const std::uint8_t* target, std::int64_t first, std::int64_t last,
                                   HardKey* keys) {
    for (std::int64_t v = first; v < last; ++v) keys[v] = formulas::hard_key(to_f32(logit[v]), target[v] == 1);
}

template <class T>
IWSEG_VECTOR_CLONES void find_gradients(const HardestSelection& selection, const T* logit, const std::uint8_t* target,
                                        const HardKey* keys, std::int64_t first, std::int64_t last, T* to,
                                        Write write) {
    for (std::int64_t v = first; v < last; ++v) {
        const float gradient =
            target[v] == kIgnored ? 0.0f : selection.gradient(to_f32(logit[v]), target[v] == 1, keys[v]);
        store(to[v], write == Write::accumulate ? to_f32(to[v]) + gradient : gradient);
    }
}

}  // namespace

std::int64_t hardest_voxels_scratch_bytes(const Shape& logit) {
    return static_cast<std::int64_t>(sizeof(HardestSelection)) +
           chunks_in(logit.elements(), 1) * static_cast<std::int64_t>(sizeof(double)) +
           2 * logit.elements() * static_cast<std::int64_t>(sizeof(HardKey));
}

void hardest_voxels_value(Stream stream, const HardestPass& pass, const LossInput& input, void* memory, double* value,
                          Write write) {
    formulas::require_hardest_input(input);
    const std::int64_t voxels = input.logit.shape.elements();
    const Scratch scratch(memory, input.logit.shape);
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        each_chunk(stream, voxels, [&](std::int64_t, std::int64_t first, std::int64_t last) {
            find_keys(input.logit.as<const T>(), input.target, first, last, scratch.keys);
        });
    });
    HardKey* end = scratch.known;
    for (std::int64_t v = 0; v < voxels; ++v)
        if (input.target[v] != kIgnored) *end++ = scratch.keys[v];
    HardestSelection& selection = *scratch.selection;
    selection = {};
    selection.begin(pass.percent, static_cast<std::uint64_t>(end - scratch.known));
    double sum = 0;
    std::uint64_t at_threshold = 0;
    if (selection.wanted > 0) {
        HardKey* const last = scratch.known + selection.wanted - 1;
        std::nth_element(scratch.known, last, end, std::greater<>());
        selection.threshold = *last;
        const HardKey threshold = selection.threshold;
        selection.left = static_cast<std::uint64_t>(std::count(scratch.known, last + 1, threshold));
        at_threshold = selection.left + static_cast<std::uint64_t>(std::count(last + 1, end, threshold));
        // In the order of voxels, which partition does not keep.
        each_chunk(stream, voxels, [&](std::int64_t chunk, std::int64_t first, std::int64_t past) {
            double part = 0;
            for (std::int64_t v = first; v < past; ++v)
                if (input.target[v] != kIgnored && scratch.keys[v] > threshold)
                    part += formulas::entropy_of(scratch.keys[v]);
            scratch.parts[chunk] = part;
        });
        for (std::int64_t chunk = 0; chunk < chunks_in(voxels, 1); ++chunk) sum += scratch.parts[chunk];
    }
    const double found = selection.finish(sum, at_threshold, pass, input.step);
    *value = write == Write::overwrite ? found : *value + found;
}

void hardest_voxels_gradient(Stream stream, const HardestPass&, const LossInput& input, const void* memory,
                             View diff_logit, Write write) {
    formulas::require_hardest_input(input);
    require_same_form(input.logit, diff_logit, "hardest_voxels");
    const Scratch scratch(const_cast<void*>(memory), input.logit.shape);
    with_real(input.logit.type, [&](auto real) {
        using T = decltype(real);
        each_chunk(stream, input.logit.shape.elements(), [&](std::int64_t, std::int64_t first, std::int64_t last) {
            find_gradients(*scratch.selection, input.logit.as<const T>(), input.target, scratch.keys, first, last,
                           diff_logit.as<T>(), write);
        });
    });
}

}  // namespace iwseg::cpu

#include "kernels/elementwise/elementwise.h"

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/lane_sums.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"

namespace iwseg::cpu {
namespace {

constexpr std::int64_t kElementsAtOnce = 16384;  ///< elements a thread takes at a time

template <class T>
IWSEG_VECTOR_CLONES void add_chunk(const T* from, std::int64_t elements, T* to) {
    for (std::int64_t i = 0; i < elements; ++i) store(to[i], to_f32(to[i]) + to_f32(from[i]));
}

template <class From, class To>
IWSEG_VECTOR_CLONES void copy_chunk(const From* from, std::int64_t elements, To* to) {
    for (std::int64_t i = 0; i < elements; ++i) store(to[i], to_f32(from[i]));
}

template <class Body>
void over_element_chunks(Stream stream, std::int64_t elements, Body&& body) {
    parallel_for(stream, (elements + kElementsAtOnce - 1) / kElementsAtOnce, [&](std::int64_t chunk) {
        body(chunk * kElementsAtOnce, std::min(kElementsAtOnce, elements - chunk * kElementsAtOnce));
    });
}

}  // namespace

void add(Stream stream, View from, View to) {
    require_same(from, to, "add");
    if (from.type != to.type) throw std::invalid_argument("add: tensors of different type");
    with_real(to.type, [&](auto real) {
        using T = decltype(real);
        over_element_chunks(stream, elements_of(to), [&](std::int64_t i, std::int64_t n) {
            add_chunk(from.as<const T>() + i, n, to.as<T>() + i);
        });
    });
}

void copy(Stream stream, View from, View to) {
    require_same(from, to, "copy");
    with_real(from.type, [&](auto real_from) {
        with_real(to.type, [&](auto real_to) {
            over_element_chunks(stream, elements_of(to), [&](std::int64_t i, std::int64_t n) {
                copy_chunk(from.as<const decltype(real_from)>() + i, n, to.as<decltype(real_to)>() + i);
            });
        });
    });
}

std::int64_t channel_sum_scratch_bytes(const Shape& shape, Layout layout) {
    const Blocks blocks(View{nullptr, shape, Type::f32, layout});
    return blocks.rows() * chunks_in(blocks.voxels, blocks.block) * blocks.block *
           static_cast<std::int64_t>(sizeof(double));
}

void channel_sum(Stream stream, View x, float* sums, void* scratch) {
    const Blocks blocks(x);
    const std::int64_t chunks = chunks_in(blocks.voxels, blocks.block), size = chunk_voxels(blocks.block);
    auto* partial = static_cast<double*>(scratch);
    with_real(x.type, [&](auto real) {
        with_block(blocks.block, [&](auto width) {
            constexpr int B = width;
            parallel_for(stream, blocks.rows() * chunks, [&](std::int64_t i) {
                const std::int64_t first = i % chunks * size;
                sum_lanes<B>(x.as<const decltype(real)>() + (i / chunks * blocks.voxels + first) * B,
                             std::min(size, blocks.voxels - first), partial + i * B);
            });
        });
    });
    for (std::int64_t c = 0; c < x.shape.c; ++c) {
        double total = 0;
        for (std::int64_t n = 0; n < blocks.samples; ++n)
            for (std::int64_t k = 0; k < chunks; ++k)
                total +=
                    partial[((n * blocks.blocks + c / blocks.block) * chunks + k) * blocks.block + c % blocks.block];
        sums[c] = static_cast<float>(total);
    }
}

}  // namespace iwseg::cpu

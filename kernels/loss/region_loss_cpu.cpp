#include "kernels/loss/region_loss.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <variant>

#include "kernels/cpu/cpu_blocks.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/vector_clones.h"
#include "kernels/loss/region_sums.h"
#include "kernels/loss/store_gradients.h"

// Chunks of voxels, in pieces that stay in cache. A piece of one region, as most are, is vector code; in others voxels
// are added up one by one, as far as the region is the same.
namespace iwseg::cpu {
namespace {

using formulas::FixedSum, formulas::kMostRegionCoefficients, formulas::kMostRegionSums, formulas::kRegionRow,
    formulas::RegionMap, formulas::RegionSample, formulas::RegionTable, formulas::Voxel;

constexpr int kPiece = 64;     ///< voxels held in cache between the loops of a pass
constexpr int kTogether = 16;  ///< pieces loaded at once

/// One chunk of voxels of one sample: [first, first + voxels) of the batch.
template <class T>
struct Chunk {
    const T* logit;
    RegionMap map;
    std::int64_t first, voxels;
};

/// A few voxels and their regions. Those after the chunk's end do not count.
struct Piece {
    float z[kPiece], t[kPiece], w[kPiece];
    std::int32_t region[kPiece];
    int count;  ///< before the chunk's end
    bool one_region;

    Voxel at(int i) const { return {z[i], t[i], w[i]}; }
};

template <class T>
[[gnu::always_inline]] inline void load_piece(const Chunk<T>& chunk, std::int64_t begin, Piece& piece) {
    const int count = static_cast<int>(std::min<std::int64_t>(kPiece, chunk.voxels - begin));
    const std::int64_t from = chunk.first + begin;
    piece.count = count;
    piece.one_region = count == kPiece;
    for (int i = 0; i < kPiece; ++i) {
        const std::int64_t v = from + std::min(i, count - 1);
        const Voxel voxel =
            i < count ? formulas::region_voxel(to_f32(chunk.logit[v]), chunk.map.target[v]) : formulas::kUncounted;
        piece.z[i] = voxel.z;
        piece.t[i] = voxel.t;
        piece.w[i] = voxel.w;
        piece.region[i] = chunk.map(v);
        piece.one_region &= piece.region[i] == piece.region[0];
    }
}

/// Loads as many pieces from `begin` on as there are, and returns how many. What depends on the tensor's type does not
/// depend on the formula, and the other way round: each is compiled for three instruction sets.
template <class T>
IWSEG_VECTOR_CLONES int load(const Chunk<T>& chunk, std::int64_t begin, Piece* pieces) {
    int p = 0;
    for (; p < kTogether && begin < chunk.voxels; ++p, begin += kPiece) load_piece(chunk, begin, pieces[p]);
    return p;
}

/// Sums of a region that go on from voxel to voxel.
template <class F>
struct Run {
    std::int32_t region = -1;
    double sums[F::kSums] = {};
    std::int64_t voxels = 0;

    /// Adds them to the region's row.
    void end(FixedSum* rows, unsigned& faults) {
        if (voxels > 0) {
            FixedSum* const row = rows + std::int64_t{region} * kRegionRow;
            const auto add = [&](int k, FixedSum what) {
                std::atomic_ref(row[k]).fetch_add(what, std::memory_order_relaxed);
            };
            for (int k = 0; k < F::kSums; ++k) add(k, formulas::fixed_sum(sums[k], faults));
            add(kMostRegionSums, static_cast<FixedSum>(voxels));
        }
        *this = {};
    }
};

template <class F>
IWSEG_VECTOR_CLONES void sum_pieces(const Piece* pieces, int there, const F& formula, Run<F>& run, FixedSum* rows,
                                    unsigned& faults) {
    float terms[F::kSums][kPiece];
    for (const Piece* at = pieces; at != pieces + there; ++at) {
        const Piece& piece = *at;
        for (int i = 0; i < kPiece; ++i) {
            float of_voxel[F::kSums];
            formula.terms(piece.at(i), sigmoid(piece.z[i]), of_voxel);
            for (int k = 0; k < F::kSums; ++k) terms[k][i] = of_voxel[k];
        }
        if (piece.one_region) {
            if (piece.region[0] != run.region) run.end(rows, faults);
            run.region = piece.region[0];
            int counted = 0;
            for (int i = 0; i < kPiece; ++i) counted += piece.w[i] != 0;
            run.voxels += counted;
            for (int k = 0; k < F::kSums; ++k) {
                double lanes[8] = {};
                for (int i = 0; i < kPiece; ++i) lanes[i % 8] += terms[k][i];
                for (const double lane : lanes) run.sums[k] += lane;
            }
            continue;
        }
        for (int i = 0; i < piece.count; ++i) {
            if (piece.w[i] == 0) continue;
            if (piece.region[i] != run.region) run.end(rows, faults);
            run.region = piece.region[i];
            ++run.voxels;
            for (int k = 0; k < F::kSums; ++k) run.sums[k] += terms[k][i];
        }
    }
}

template <class F, class T>
void sum_chunk(const Chunk<T>& chunk, const F& formula, FixedSum* rows, unsigned& faults) {
    Piece pieces[kTogether];
    Run<F> run;
    for (std::int64_t begin = 0; begin < chunk.voxels; begin += kTogether * kPiece)
        sum_pieces(pieces, load(chunk, begin, pieces), formula, run, rows, faults);
    run.end(rows, faults);
}

template <class F>
IWSEG_VECTOR_CLONES void gradients_of_pieces(const Piece* pieces, int there, const F& formula,
                                             const float* coefficients, float scale, float (*gradients)[kPiece]) {
    float c[F::kCoefficients];
    for (int p = 0; p < there; ++p) {
        const Piece& piece = pieces[p];
        float gradient[kPiece];
        const auto take = [&](int i) {
            for (int k = 0; k < F::kCoefficients; ++k)
                c[k] =
                    scale > 0 ? scale * coefficients[std::int64_t{piece.region[i]} * kMostRegionCoefficients + k] : 0;
        };
        take(0);
        if (piece.one_region)
            for (int i = 0; i < kPiece; ++i) gradient[i] = formula.gradient(piece.at(i), sigmoid(piece.z[i]), c);
        else
            for (int i = 0; i < piece.count; ++i) {
                if (i > 0 && piece.region[i] != piece.region[i - 1]) take(i);
                gradient[i] = formula.gradient(piece.at(i), sigmoid(piece.z[i]), c);
            }
        std::memcpy(gradients[p], gradient, static_cast<std::size_t>(piece.count) * sizeof(float));
    }
}

template <class F, class T>
void gradient_of_chunk(const Chunk<T>& chunk, const F& formula, const float* coefficients, float scale, T* diff_logit,
                       Write write) {
    Piece pieces[kTogether];
    float gradients[kTogether][kPiece];
    for (std::int64_t begin = 0; begin < chunk.voxels; begin += kTogether * kPiece) {
        gradients_of_pieces(pieces, load(chunk, begin, pieces), formula, coefficients, scale, gradients);
        store_gradients(gradients[0], std::min<std::int64_t>(kTogether * kPiece, chunk.voxels - begin),
                        diff_logit + chunk.first + begin, write);
    }
}

/// Values of a sample's regions, and the coefficients of each.
template <class F>
RegionSample join_regions(const F& formula, const FixedSum* rows, std::int64_t stride, bool with_rest,
                          float* coefficients) {
    RegionSample sample{};
    double of_rest[kMostRegionCoefficients] = {};
    const auto keep = [&](std::int64_t label, const double* c) {
        for (int k = 0; k < F::kCoefficients; ++k)
            coefficients[label * kMostRegionCoefficients + k] = formulas::as_coefficient(c[k]);
    };
    for (std::int64_t l = with_rest ? 1 : 0; l < stride; ++l) {
        const FixedSum* const row = rows + l * kRegionRow;
        if (row[kMostRegionSums] == 0) continue;
        double c[kMostRegionCoefficients] = {};
        sample.value += formulas::value_of_region(formula, row, with_rest ? rows : nullptr, c);
        ++sample.regions;
        keep(l, c);
        for (int k = 0; k < F::kCoefficients; ++k) of_rest[k] += c[k];
    }
    if (with_rest) keep(0, of_rest);  // the rest is part of every lesion's region
    return sample;
}

template <class T>
Chunk<T> chunk_of(const LossInput& input, const RegionMap& map, std::int64_t n, std::int64_t chunk) {
    const std::int64_t voxels = input.logit.shape.voxels(), first = chunk * chunk_voxels(1);
    return {input.logit.as<const T>(), map, n * voxels + first, std::min(chunk_voxels(1), voxels - first)};
}

}  // namespace

std::int64_t region_loss_scratch_bytes(const Shape& logit, std::int64_t stride) {
    return RegionTable::bytes(logit.n, stride);
}

void region_loss_value(Stream stream, const RegionPass& pass, const LossInput& input, void* scratch, double* value,
                       Write write) {
    const RegionMap map = formulas::region_map(pass, input);
    const Shape& shape = input.logit.shape;
    const RegionTable table(scratch, shape.n, input.stride);
    const std::int64_t chunks = chunks_in(shape.voxels(), 1);
    const bool with_rest = pass.regions == LossRegions::lesion_and_rest;
    std::memset(table.rows, 0, static_cast<std::size_t>(RegionTable::bytes_of_sums(shape.n, input.stride)));
    const auto rows_of = [&](std::int64_t n) { return table.rows + n * input.stride * kRegionRow; };
    const auto compute = [&](const auto& formula) {
        with_real(input.logit.type, [&](auto real) {
            parallel_for(stream, shape.n * chunks, [&](std::int64_t i) {
                unsigned faults = 0;
                sum_chunk(chunk_of<decltype(real)>(input, map, i / chunks, i % chunks), formula, rows_of(i / chunks),
                          faults);
                if (faults) std::atomic_ref(*table.faults).fetch_or(faults, std::memory_order_relaxed);
            });
        });
        parallel_for(stream, shape.n, [&](std::int64_t n) {
            table.samples[n] = join_regions(formula, rows_of(n), input.stride, with_rest,
                                            table.coefficients + n * input.stride * kMostRegionCoefficients);
        });
    };
    std::visit(compute, pass.formula);
    const double found =
        formulas::value_of_samples(table.samples, shape.n, *table.faults, formulas::warmed_up(pass.warmup, input.step));
    *value = write == Write::overwrite ? found : *value + found;
}

void region_loss_gradient(Stream stream, const RegionPass& pass, const LossInput& input, const void* scratch,
                          View diff_logit, Write write) {
    const RegionMap map = formulas::region_map(pass, input);
    formulas::require_gradient_of(input, diff_logit, "region_loss");
    const Shape& shape = input.logit.shape;
    const RegionTable table(const_cast<void*>(scratch), shape.n, input.stride);
    const std::int64_t chunks = chunks_in(shape.voxels(), 1);
    const auto compute = [&](const auto& formula) {
        with_real(input.logit.type, [&](auto real) {
            using T = decltype(real);
            parallel_for(stream, shape.n * chunks, [&](std::int64_t i) {
                const std::int64_t n = i / chunks;
                gradient_of_chunk(chunk_of<T>(input, map, n, i % chunks), formula,
                                  table.coefficients + n * input.stride * kMostRegionCoefficients,
                                  static_cast<float>(table.samples[n].scale), diff_logit.as<T>(), write);
            });
        });
    };
    std::visit(compute, pass.formula);
}

}  // namespace iwseg::cpu

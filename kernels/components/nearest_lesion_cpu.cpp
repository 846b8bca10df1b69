#include "kernels/components/nearest_lesion.h"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

#include "kernels/components/nearest_offset.h"
#include "kernels/cpu/parallel.h"

namespace iwseg {

void require_nearest_lesion(const View& target, const View& labels) {
    const Shape& s = target.shape;
    if (target.type != Type::u8 || labels.type != Type::i32 || s.c != 1 || !(s == labels.shape))
        throw std::invalid_argument("nearest_lesion: expected a u8 target of one channel and i32 labels of its shape");
    if (std::max({s.d, s.h, s.w}) > kLongestSide)
        throw std::invalid_argument("nearest_lesion: a side of " + std::to_string(std::max({s.d, s.h, s.w})) +
                                    " voxels, at most " + std::to_string(kLongestSide) + " can be measured");
}

namespace cpu {
namespace {

/// The searches along H and D are lower envelopes of parabolas (Meijster, Roerdink and Hesselink, 2000), in integers,
/// so that ties are ties: linear in the length, whatever the distances.
class Envelope {
  public:
    explicit Envelope(std::int64_t length) : length_(length), vertex_(length), begins_(length) {}

    /// height(x): the squared distance across, below 0 where there is nothing. Calls found(x, nearest along the axis)
    /// for each x, from the last to the first; for none where there is nothing at all.
    template <class Height, class Found>
    void search(Height&& height, Found&& found) {
        std::int64_t last = -1;
        const auto at = [&](std::int64_t x, std::int64_t vertex) {
            return (x - vertex) * (x - vertex) + height(vertex);
        };
        for (std::int64_t u = 0; u < length_; ++u) {
            if (height(u) < 0) continue;
            while (last >= 0 && at(begins_[last], vertex_[last]) > at(begins_[last], u)) --last;
            if (last < 0) {
                last = 0;
                vertex_[0] = u;
                begins_[0] = 0;
                continue;
            }
            const std::int64_t i = vertex_[last];
            const std::int64_t begin = 1 + (u * u - i * i + height(u) - height(i)) / (2 * (u - i));
            if (begin >= length_) continue;
            ++last;
            vertex_[last] = u;
            begins_[last] = begin;
        }
        for (std::int64_t x = length_ - 1; x >= 0 && last >= 0; --x) {
            found(x, vertex_[last]);
            if (x == begins_[last]) --last;
        }
    }

  private:
    std::int64_t length_;
    std::vector<std::int64_t> vertex_, begins_;
};

/// Along W: the nearest of a row.
void search_row(const std::uint8_t* target, std::int64_t width, NearestOffset* found) {
    std::int64_t last = -1;
    for (std::int64_t w = 0; w < width; ++w) {
        if (target[w] == 1) last = w;
        found[w] = last < 0 ? kNoOffset : offset_to(0, static_cast<std::int32_t>(last - w));
    }
    last = -1;
    for (std::int64_t w = width - 1; w >= 0; --w) {
        if (target[w] == 1) last = w;
        if (last >= 0 && (found[w] == kNoOffset || last - w < -offset_w(found[w])))
            found[w] = offset_to(0, static_cast<std::int32_t>(last - w));
    }
}

}  // namespace

std::int64_t nearest_lesion_scratch_bytes(const Shape& target) {
    return 2 * target.elements() * static_cast<std::int64_t>(sizeof(NearestOffset));
}

void nearest_lesion(Stream stream, View target, View labels, std::int32_t* nearest, void* scratch) {
    require_nearest_lesion(target, labels);
    const Shape& s = target.shape;
    const std::int64_t slice = s.h * s.w, voxels = s.voxels();
    auto* const of_row = static_cast<NearestOffset*>(scratch);
    NearestOffset* const of_slice = of_row + s.elements();
    parallel_for(stream, s.n * s.d * s.h, [&](std::int64_t row) {
        search_row(target.as<const std::uint8_t>() + row * s.w, s.w, of_row + row * s.w);
    });
    parallel_ranges(stream, s.n * s.d, [&](std::int64_t first, std::int64_t end) {
        Envelope envelope(s.h);
        for (std::int64_t at = first * slice; at < end * slice; at += slice)
            for (std::int64_t w = 0; w < s.w; ++w) {
                const NearestOffset* const column = of_row + at + w;
                for (std::int64_t h = 0; h < s.h; ++h) of_slice[at + h * s.w + w] = kNoOffset;
                envelope.search(
                    [&](std::int64_t h) { return column[h * s.w] == kNoOffset ? -1 : squared(column[h * s.w]); },
                    [&](std::int64_t h, std::int64_t to) {
                        of_slice[at + h * s.w + w] =
                            offset_to(static_cast<std::int32_t>(to - h), offset_w(column[to * s.w]));
                    });
            }
    });
    parallel_ranges(stream, s.n * s.h, [&](std::int64_t first, std::int64_t end) {
        Envelope envelope(s.d);
        for (std::int64_t i = first; i < end; ++i)
            for (std::int64_t w = 0; w < s.w; ++w) {
                const std::int64_t h = i % s.h, at = i / s.h * voxels + h * s.w + w;
                const NearestOffset* const column = of_slice + at;
                for (std::int64_t d = 0; d < s.d; ++d) nearest[at + d * slice] = 0;
                envelope.search(
                    [&](std::int64_t d) { return column[d * slice] == kNoOffset ? -1 : squared(column[d * slice]); },
                    [&](std::int64_t d, std::int64_t to) {
                        const NearestOffset across = column[to * slice];
                        nearest[at + d * slice] =
                            labels
                                .as<const std::int32_t>()[at + to * slice + offset_h(across) * s.w + offset_w(across)];
                    });
            }
    });
}

}  // namespace cpu
}  // namespace iwseg

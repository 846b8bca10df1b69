#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

/// A pass of a convolution along one axis, forward or for the gradient of its source, in one form. Places that are
/// written fall into classes, by their remainder to out_step: place out_step * q + first is a sum over places
/// in_step * q + offset + j of what is read, j = 0 … taps - 1, times tap(j) of the kernel. Forward there is one class;
/// for the gradient there are as many as the stride, each with the taps that reach it.
namespace iwseg::cpu {

struct AxisClass {
    int first = 0, taps = 0, offset = 0, first_tap = 0, tap_step = 1;
    std::int64_t count = 0;  ///< of q

    int tap(int j) const { return first_tap + tap_step * j; }
};

struct PassAxis {
    int in_step = 1, out_step = 1;
    std::int64_t read = 1, written = 1;  ///< sides
    std::vector<AxisClass> classes;

    /// The least and the largest offset of any class; 0 and 0 where none has taps.
    int lowest() const {
        int least = 0;
        bool found = false;
        for (const AxisClass& one : classes)
            if (one.taps > 0) least = found ? std::min(least, one.offset) : one.offset, found = true;
        return least;
    }
    int highest() const {
        int largest = lowest();
        for (const AxisClass& one : classes)
            if (one.taps > 0) largest = std::max(largest, one.offset + one.taps - 1);
        return largest;
    }
    int span() const { return highest() - lowest(); }
    /// Of q, in the class that has most.
    std::int64_t count() const {
        std::int64_t most = 0;
        for (const AxisClass& one : classes) most = std::max(most, one.count);
        return most;
    }
};

inline PassAxis forward_axis(std::int64_t src, std::int64_t dst, int kernel, int stride, int padding) {
    return {stride, 1, src, dst, {{0, kernel, -padding, 0, 1, dst}}};
}

/// Place u of src goes to place x of dst by tap u + padding - stride * x.
inline PassAxis data_gradient_axis(std::int64_t src, std::int64_t dst, int kernel, int stride, int padding) {
    PassAxis axis{1, stride, dst, src, {}};
    for (int first = 0; first < std::min<std::int64_t>(stride, src); ++first) {
        const int least = (first + padding) % stride;  // tap
        const int taps = least < kernel ? (kernel - 1 - least) / stride + 1 : 0;
        const int last = (first + padding - least) / stride;  // place, for q = 0
        axis.classes.push_back(
            {first, taps, last - taps + 1, least + stride * (taps - 1), -stride, (src - first + stride - 1) / stride});
    }
    return axis;
}

}  // namespace iwseg::cpu

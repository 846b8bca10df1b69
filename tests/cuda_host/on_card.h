#pragma once

#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "engine/device_memory.h"
#include "kernels/device/backend.h"
#include "kernels/device/bf16.h"
#include "kernels/device/view.h"

namespace iwseg {

/// Random values on the card.
class OnCard {
  public:
    OnCard(const View& like, std::mt19937& random)
        : memory_(cuda::backend(), bytes_of(like.shape, like.type, like.layout)), view_(like) {
        view_.data = memory_.data();
        values.resize(static_cast<std::size_t>(like.shape.elements()));
        for (float& value : values) value = round_to_bf16(std::uniform_real_distribution<float>(-1, 1)(random));
        std::vector<char> bytes(static_cast<std::size_t>(memory_.bytes()));
        for (std::size_t i = 0; i < values.size(); ++i)
            if (like.type == Type::bf16)
                store(reinterpret_cast<Bf16*>(bytes.data())[i], values[i]);
            else
                reinterpret_cast<float*>(bytes.data())[i] = values[i];
        cuda::copy_to_device({}, bytes.data(), memory_.data(), memory_.bytes());
        cuda::synchronise({});
    }
    View view() const { return view_; }
    float* floats() const { return static_cast<float*>(view_.data); }
    std::vector<float> read() const {
        std::vector<char> bytes(static_cast<std::size_t>(memory_.bytes()));
        cuda::copy_to_host({}, memory_.data(), bytes.data(), memory_.bytes());
        cuda::synchronise({});
        std::vector<float> got(values.size());
        for (std::size_t i = 0; i < got.size(); ++i)
            got[i] = view_.type == Type::bf16 ? to_f32(reinterpret_cast<const Bf16*>(bytes.data())[i])
                                              : reinterpret_cast<const float*>(bytes.data())[i];
        return got;
    }

    std::vector<float> values;

  private:
    DeviceMemory memory_;
    View view_;
};

inline double largest_difference(const std::vector<float>& a, const std::vector<float>& b) {
    double largest = 1e-30, difference = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        largest = std::max(largest, static_cast<double>(std::abs(b[i])));
        difference = std::max(difference, static_cast<double>(std::abs(a[i] - b[i])));
    }
    return difference / largest;
}

}  // namespace iwseg

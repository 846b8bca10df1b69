#pragma once

#include <string>
#include <utility>
#include <vector>

#include "apps/bench/kernel_case.h"
#include "base/random.h"

namespace iwseg {

/// Makes operands whose values depend on the seed and their number alone.
class KernelOperands {
  public:
    using Kind = KernelOperand::Kind;

    explicit KernelOperands(const KernelCaseOptions& options) : options_(options) {}

    KernelOperands& noise(const std::string& name, const Shape& shape, Kind kind = Kind::activation) {
        return add(name, shape, kind, [](Random& random) { return random.normal(); });
    }
    /// Between 0.5 and 1.5: scales and deviations.
    KernelOperands& around_one(const std::string& name, const Shape& shape) {
        return add(name, shape, Kind::f32, [](Random& random) { return 0.5 + random.uniform(); });
    }
    KernelOperands& mask(const std::string& name, const Shape& shape) {
        return add(name, shape, Kind::u8, [](Random& random) { return random.uniform() < 0.05 ? 1.0 : 0.0; });
    }
    KernelOperands& zeros(const std::string& name, const Shape& shape, Kind kind) {
        list_.push_back({name, shape, kind, false, {}});
        return *this;
    }
    KernelOperands& result(const std::string& name, const Shape& shape, Kind kind = Kind::activation) {
        list_.push_back({name, shape, kind, true, {}});
        return *this;
    }
    /// What the last one holds is changed by the call.
    KernelOperands& changed() {
        list_.back().written = true;
        return *this;
    }

    std::vector<KernelOperand> list() { return std::move(list_); }

  private:
    template <class Draw>
    KernelOperands& add(const std::string& name, const Shape& shape, Kind kind, Draw&& draw) {
        Random random(options_.seed, 0, static_cast<std::uint32_t>(list_.size()), Purpose::phantom);
        KernelOperand operand{name, shape, kind, false, {}};
        operand.values.reserve(static_cast<std::size_t>(shape.elements()));
        for (std::int64_t i = 0; i < shape.elements(); ++i) operand.values.push_back(draw(random));
        list_.push_back(std::move(operand));
        return *this;
    }

    const KernelCaseOptions& options_;
    std::vector<KernelOperand> list_;
};

}  // namespace iwseg

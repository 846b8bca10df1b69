#include "engine/ops/upsample.h"

#include <stdexcept>

#include "engine/graph.h"
#include "engine/lowering.h"
#include "engine/plan.h"

namespace iwseg {
namespace {

class UpsampleOperation final : public Operation {
  public:
    UpsampleOperation(std::string name, Corners corners) : name_(std::move(name)), corners_(corners) {}
    std::string name() const override { return name_; }

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        const Shape& x = inputs.at(0);
        return {{x.n, x.c, 2 * x.d, 2 * x.h, 2 * x.w}};
    }

    void forward(const Lowering& lowering) const override {
        const Buffer x = lowering.input(0), y = lowering.output();
        lowering.add({name_, "upsample", {x}, {y}, [=, corners = corners_](const Plan& plan) {
                          plan.device().upsample(plan.stream(), plan[x], corners, plan[y]);
                      }});
    }

    void backward(const Lowering& lowering) const override {
        if (!lowering.wants_gradient(0)) return;
        const Buffer diff_y = lowering.output_gradient();
        const GradientDestination to = lowering.input_gradient(0);
        Call call{name_ + " backward", "upsample backward", {diff_y}, {to.buffer}, {}};
        call.run = [=, corners = corners_](const Plan& plan) {
            plan.device().upsample_backward(plan.stream(), plan[diff_y], corners, plan[to.buffer], to.write);
        };
        if (to.write == Write::accumulate) call.reads.push_back(to.buffer);
        lowering.add(std::move(call));
    }

  private:
    std::string name_;
    Corners corners_;
};

class NearestOperation final : public Operation {
  public:
    NearestOperation(std::string name, const Sides& times) : name_(std::move(name)), times_(times) {}
    std::string name() const override { return name_; }

    std::vector<Shape> outputs(const std::vector<Shape>& inputs) const override {
        const Shape& x = inputs.at(0);
        if (times_.d < 1 || times_.h < 1 || times_.w < 1)
            throw std::invalid_argument("upsample_nearest: expected at least as many voxels along each axis");
        return {{x.n, x.c, times_.d * x.d, times_.h * x.h, times_.w * x.w}};
    }

    void forward(const Lowering& lowering) const override {
        const Buffer x = lowering.input(0), y = lowering.output();
        lowering.add({name_, "upsample nearest", {x}, {y}, [=](const Plan& plan) {
                          plan.device().spread_windows(plan.stream(), plan[x], 1.0f, plan[y], Write::overwrite);
                      }});
    }

    void backward(const Lowering& lowering) const override {
        if (!lowering.wants_gradient(0)) return;
        const Buffer diff_y = lowering.output_gradient();
        const GradientDestination to = lowering.input_gradient(0);
        Call call{name_ + " backward", "upsample nearest backward", {diff_y}, {to.buffer}, {}};
        call.run = [=](const Plan& plan) {
            plan.device().sum_windows(plan.stream(), plan[diff_y], 1.0f, plan[to.buffer], to.write);
        };
        if (to.write == Write::accumulate) call.reads.push_back(to.buffer);
        lowering.add(std::move(call));
    }

  private:
    std::string name_;
    Sides times_;
};

}  // namespace

Tensor upsample(Tensor x, Corners corners) {
    return x.graph->add_one(std::make_shared<UpsampleOperation>(x.graph->fresh_name("upsample"), corners), {x});
}

Tensor upsample_nearest(Tensor x, const Sides& times) {
    return x.graph->add_one(std::make_shared<NearestOperation>(x.graph->fresh_name("upsample_nearest"), times), {x});
}

}  // namespace iwseg

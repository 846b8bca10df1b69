#include "kernels/elementwise/linear_products.h"

#include <algorithm>
#include <stdexcept>

#include "base/bytes.h"
#include "kernels/convolution/weights.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/linear.h"

// y = x · weights^T, diff_x = diff_y · weights, diff_weights = diff_y^T · x. Weights are most of what is moved: x and y
// are widened to f32 before a product and rounded after it, rather than weights rounded.
namespace iwseg::cuda {
namespace {

/// Parameters lie where those before them end.
constexpr int kParameterAlignment = sizeof(float);

/// One voxel's channels lie alike in both layouts.
View innermost(View view) {
    view.layout = Layout::ndhwc;
    return view;
}

/// Where f32 values of a tensor are: itself, or that memory.
View in_f32(const View& view, void* memory) {
    return view.type == Type::f32 ? view : View{memory, view.shape, Type::f32, view.layout};
}

View widened(Stream stream, const View& view, void* memory) {
    const View wide = in_f32(view, memory);
    if (wide.data != view.data) copy(stream, view, wide);
    return wide;
}

void narrow(Stream stream, const View& wide, const View& view) {
    if (wide.data != view.data) copy(stream, wide, view);
}

}  // namespace

std::string name_of(const LinearForm& form, LinearPass pass) {
    const char* passes[] = {"forward", "data gradient", "weight gradient"};
    return std::string("linear ") + passes[static_cast<int>(pass)] + " " + std::to_string(form.samples) + "x" +
           std::to_string(form.inputs) + " to " + std::to_string(form.outputs) +
           (form.type == Type::bf16 ? ", bf16" : ", f32") + (form.bias && pass != LinearPass::data ? ", bias" : "");
}

MatrixProductForm product_of(const LinearForm& form, LinearPass pass) {
    MatrixProductForm product;
    switch (pass) {
        case LinearPass::forward:
            product.rows = form.samples, product.inner = form.inputs, product.columns = form.outputs;
            product.b_transposed = true;
            product.b_alignment = kParameterAlignment;
            break;
        case LinearPass::data:
            product.rows = form.samples, product.inner = form.outputs, product.columns = form.inputs;
            product.b_alignment = kParameterAlignment;
            break;
        case LinearPass::weights:
            product.rows = form.outputs, product.inner = form.samples, product.columns = form.inputs;
            product.a_transposed = true;
            product.result_alignment = kParameterAlignment;
            break;
    }
    return product;
}

LinearProducts::LinearProducts(const LinearForm& form, Products products) : products_(std::move(products)) {
    if (form.type == Type::bf16) {
        outputs_at_ = aligned(form.samples * form.inputs * bytes_of(Type::f32));
        rest_at_ = outputs_at_ + aligned(form.samples * form.outputs * bytes_of(Type::f32));
    }
    std::int64_t rest = 0;
    for (const auto& one : products_)
        if (one) rest = std::max(rest, one->workspace_bytes());
    if (form.bias && form.backward_weights)
        rest = std::max(rest, channel_sum_scratch_bytes({form.samples, form.outputs, 1, 1, 1}, Layout::ndhwc));
    scratch_bytes_ = rest_at_ + rest;
}

std::string LinearProducts::implementation() const {
    const char* passes[] = {"forward ", ", data ", ", weights "};
    std::string text;
    for (std::size_t i = 0; i < products_.size(); ++i)
        text += passes[i] + (products_[i] ? products_[i]->text() : "own");
    return text;
}

void LinearProducts::forward(Stream stream, View x, const float* weights, const float* bias, View y,
                             void* scratch) const {
    if (!product(LinearPass::forward)) return linear(stream, x, weights, bias, y);
    require_vectors(x, y);
    auto* const base = static_cast<char*>(scratch);
    const View from = widened(stream, innermost(x), base), to = in_f32(innermost(y), base + outputs_at_);
    MatrixOperands operands{from.data, weights};
    operands.result = to.data, operands.workspace = base + rest_at_;
    product(LinearPass::forward)->run(stream, operands);
    if (bias) add_bias(stream, bias, to);
    narrow(stream, to, innermost(y));
}

void LinearProducts::backward_data(Stream stream, View diff_y, const float* weights, View diff_x, Write write,
                                   void* scratch) const {
    if (!product(LinearPass::data)) return linear_backward_data(stream, diff_y, weights, diff_x, write);
    require_vectors(diff_x, diff_y);
    auto* const base = static_cast<char*>(scratch);
    const View from = widened(stream, innermost(diff_y), base + outputs_at_);
    const bool adds = write == Write::accumulate;
    const View to = adds ? widened(stream, innermost(diff_x), base) : in_f32(innermost(diff_x), base);
    MatrixOperands operands{from.data, weights};
    operands.summand = adds ? to.data : nullptr;
    operands.result = to.data, operands.workspace = base + rest_at_;
    product(LinearPass::data)->run(stream, operands);
    narrow(stream, to, innermost(diff_x));
}

void LinearProducts::backward_weights(Stream stream, View x, View diff_y, float* diff_weights, float* diff_bias,
                                      void* scratch) const {
    if (!product(LinearPass::weights)) return linear_backward_weights(stream, x, diff_y, diff_weights, diff_bias);
    require_vectors(x, diff_y);
    auto* const base = static_cast<char*>(scratch);
    const View from = widened(stream, innermost(x), base),
               gradient = widened(stream, innermost(diff_y), base + outputs_at_);
    MatrixOperands operands{gradient.data, from.data};
    operands.result = diff_weights, operands.workspace = base + rest_at_;
    product(LinearPass::weights)->run(stream, operands);
    if (diff_bias) channel_sum(stream, gradient, diff_bias, base + rest_at_);
}

}  // namespace iwseg::cuda

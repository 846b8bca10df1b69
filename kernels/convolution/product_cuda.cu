#include "kernels/convolution/product.h"

#include <algorithm>
#include <stdexcept>

#include "base/bytes.h"
#include "kernels/convolution/direct.h"
#include "kernels/convolution/voxel_blocks.h"
#include "kernels/convolution/weights.h"
#include "kernels/cuda/matrix_product.h"

// With channels innermost, V voxels of the result, and B = kernel x C elements of src that one of them is made of, src
// is a matrix (V, B), dst (V, O), and weights packed (O, B):
//   forward          dst  = src · weights^T
//   data gradient    src  = dst · weights
//   weight gradient  weights = dst^T · src
// The last sums over all voxels into few elements, of which a card has too few to be busy with: voxels are cut into
// equal parts, a batch of products in f32, whose results are then added up in double, in their order.
namespace iwseg::cuda {
namespace {

/// Elements of a result that a multiprocessor is taken to have at once, and how many such tiles keep a card busy.
constexpr std::int64_t kTile = 128, kBusy = 512;
constexpr std::int64_t kFewestVoxels = 1024;       ///< of a part
constexpr std::int64_t kMostPartBytes = 32 << 20;  ///< of all parts' results
constexpr std::int64_t kWholePacks = 8;            ///< voxels: a part of any channels begins aligned to 16 bytes

std::int64_t voxels_of(const CudnnProblem& problem) {
    return problem.dst().n * problem.dst().voxels();
}
std::int64_t block_elements(const CudnnProblem& problem) {
    return problem.src.c * problem.taps();
}

/// Into how many equal parts the voxels of a weight gradient are cut.
std::int64_t parts_of(const CudnnProblem& problem) {
    const std::int64_t voxels = voxels_of(problem), rows = problem.dst_channels, columns = block_elements(problem);
    const std::int64_t tiles = ((rows + kTile - 1) / kTile) * ((columns + kTile - 1) / kTile);
    const std::int64_t bytes = rows * columns * bytes_of(Type::f32);
    for (std::int64_t parts = std::min({kBusy / tiles, kMostPartBytes / bytes, voxels / kFewestVoxels}); parts > 1;
         --parts)
        if (voxels % (parts * kWholePacks) == 0) return parts;
    return 1;
}

MatrixProductForm form_of(const CudnnProblem& problem) {
    const std::int64_t voxels = voxels_of(problem), block = block_elements(problem), outputs = problem.dst_channels;
    MatrixProductForm form;
    form.type = form.result_type = problem.type;
    form.tf32 = problem.tf32;
    switch (problem.pass) {
        case Pass::forward:
            form.rows = voxels, form.inner = block, form.columns = outputs;
            form.b_transposed = true;
            form.bias = problem.bias;
            break;
        case Pass::data:
            form.rows = voxels, form.inner = outputs, form.columns = block;
            break;
        case Pass::weights:
            form.batch = static_cast<int>(parts_of(problem));
            form.rows = outputs, form.inner = voxels / form.batch, form.columns = block;
            form.a_transposed = true;
            form.result_type = Type::f32;
            break;
    }
    return form;
}

/// Where a plan has what in its workspace, in bytes.
struct Workspace {
    std::int64_t partial = 0;  ///< behind rows of blocks, where src is not such
    std::int64_t joined = 0, product = 0;

    explicit Workspace(const CudnnProblem& problem) {
        if (!blocks_lie_in_rows(problem.kernel)) partial = aligned(bytes_of(problem.src, problem.type, Layout::ndhwc));
        joined = product = partial;
        if (problem.pass != Pass::weights) return;
        const std::int64_t bytes = problem.weight_count() * bytes_of(Type::f32);
        joined = partial + aligned(parts_of(problem) * bytes);
        product = joined + (problem.taps() > 1 ? aligned(bytes) : 0);
    }
};

ChosenPlan plan_of(const CudnnProblem& problem, MatrixProduct product) {
    ChosenPlan chosen;
    chosen.problem = problem;
    chosen.plan.workspace_bytes = Workspace(problem).product + product.workspace_bytes();
    chosen.product = std::make_shared<const MatrixProduct>(std::move(product));
    return chosen;
}

}  // namespace

bool is_product(const ConvolutionGeometry& geometry) {
    const Shape &s = geometry.src, d = geometry.dst();
    const Sides& k = geometry.kernel;
    return k == geometry.stride && geometry.groups == 1 && geometry.padding() == 0 &&
           s == Shape{s.n, s.c, d.d * k.d, d.h * k.h, d.w * k.w};
}

std::vector<ChosenPlan> product_plans(const CudnnProblem& problem) {
    std::vector<ChosenPlan> plans;
    if (!is_product(problem)) return plans;
    for (MatrixProduct& product : matrix_products(form_of(problem)))
        plans.push_back(plan_of(problem, std::move(product)));
    return plans;
}

std::optional<ChosenPlan> product_plan(const CudnnProblem& problem, const std::string& text) {
    if (!is_product(problem)) return std::nullopt;
    std::optional<MatrixProduct> product = matrix_product(form_of(problem), text);
    if (!product) return std::nullopt;
    return plan_of(problem, std::move(*product));
}

void run_product(Stream stream, const ChosenPlan& chosen, const PassTensors& tensors) {
    const CudnnProblem& problem = chosen.problem;
    const Workspace workspace(problem);
    auto* const base = static_cast<char*>(tensors.workspace);
    const bool moves = !blocks_lie_in_rows(problem.kernel);
    void* const blocks = moves ? base : tensors.src.data;
    if (moves && problem.pass != Pass::data) gather_blocks(stream, tensors.src, problem.kernel, blocks);
    MatrixOperands operands;
    operands.workspace = base + workspace.product;
    switch (problem.pass) {
        case Pass::forward:
            operands.a = blocks, operands.b = tensors.weights, operands.result = tensors.dst.data;
            operands.bias = tensors.packed_bias;
            if (problem.accumulate) operands.summand = tensors.summand.data ? tensors.summand.data : tensors.dst.data;
            break;
        case Pass::data:
            operands.a = tensors.dst.data, operands.b = tensors.weights, operands.result = blocks;
            break;
        case Pass::weights:
            operands.a = tensors.dst.data, operands.b = blocks, operands.result = base + workspace.partial;
            break;
    }
    try {
        chosen.product->run(stream, operands);
    } catch (const std::runtime_error& error) {
        throw std::runtime_error("convolution " + problem.name() + ": " + error.what());
    }
    if (moves && problem.pass == Pass::data) spread_blocks(stream, blocks, problem.kernel, tensors.src);
    if (problem.pass != Pass::weights) return;
    const bool packed = problem.taps() > 1;
    auto* const joined = packed ? reinterpret_cast<float*>(base + workspace.joined) : tensors.plain_weights;
    join_partial_sums(stream, static_cast<const float*>(operands.result), static_cast<int>(parts_of(problem)),
                      problem.weight_count(), joined);
    if (packed)
        unpack_weights(stream, joined, {problem.dst_channels, problem.inputs(), static_cast<int>(problem.taps())},
                       Type::f32, tensors.plain_weights);
}

}  // namespace iwseg::cuda

#include "losses/loss_operation.h"

#include "engine/plan.h"

namespace iwseg {

LossNodes add_loss(Graph& graph, const LossParameters& parameters, Tensor logit, const LossTargets& targets) {
    Program& program = graph.program();
    Context& context = graph.context();
    LossNodes nodes;
    nodes.value = program.add_bytes("loss", sizeof(double));
    program.keep(nodes.value);
    TensorSpec spec = program[logit];
    spec.name = "gradient of " + spec.name;
    spec.output = false;
    nodes.diff_logit = program.add(spec);
    const Tensor scratch =
        program.add_bytes("loss sums", context.kernels().loss_scratch_bytes(parameters, program[logit].shape));
    const auto input = [&targets, logit](const Plan& plan) {
        return LossInput{plan[logit], targets.target, targets.labels, targets.weights, targets.stride};
    };
    program.add({"loss", {logit}, {scratch, nodes.value}, [=, &context](const Plan& plan) {
                     context.kernels().loss_value(context.stream(), parameters, input(plan), plan[scratch].data,
                                                  plan.data<double>(nodes.value));
                 }});
    program.add({"loss gradient", {logit, scratch}, {nodes.diff_logit}, [=, &context](const Plan& plan) {
                     context.kernels().loss_gradient(context.stream(), parameters, input(plan), plan[scratch].data,
                                                     plan[nodes.diff_logit]);
                 }});
    return nodes;
}

}  // namespace iwseg

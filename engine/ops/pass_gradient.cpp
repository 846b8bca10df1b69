#include "engine/ops/pass_gradient.h"

#include "engine/plan.h"

namespace iwseg {

void convert(const Lowering& lowering, const std::string& name, Buffer from, Buffer to) {
    const Form a = lowering.program()[from].form, b = lowering.program()[to].form;
    Call call{name, "copies", {from}, {to}, [=](const Plan& plan) {
                  const auto move = a.layout == b.layout ? plan.device().copy : plan.device().reorder;
                  move(plan.stream(), plan[from], plan[to]);
              }};
    if (a == b) {
        call.in_place = {from, to};
        call.copies_only = true;
    }
    lowering.add(std::move(call));
}

void pass_gradient(const Lowering& lowering, const std::string& pass, Buffer diff_output,
                   const GradientDestination& to) {
    Program& program = lowering.program();
    const std::string name = lowering.name() + " " + pass;
    if (to.write == Write::overwrite) return convert(lowering, name, diff_output, to.buffer);
    Buffer part = diff_output;
    if (!(program[part].form == program[to.buffer].form)) {
        BufferSpec spec = program[to.buffer];
        spec.name += ", one part";
        part = program.add(spec);
        convert(lowering, name + " converted", diff_output, part);
    }
    lowering.add({name, "sums", {part, to.buffer}, {to.buffer}, [=, into = to.buffer](const Plan& plan) {
                      plan.device().add(plan.stream(), plan[part], plan[into]);
                  }});
}

}  // namespace iwseg

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <memory>
#include <string>

#include "apps/commands/commands.h"
#include "apps/terminal/progress.h"
#include "base/error.h"
#include "nnunet/model.h"

namespace iwseg {
namespace {

struct ImportArguments {
    std::string kind, folds, checkpoint = "checkpoint_final";
    std::filesystem::path model, out;
};

void run_import(const ImportArguments& arguments) {
    if (arguments.kind != "nnunet") throw InputError("import takes models of nnunet, not of " + arguments.kind);
    const nnunet::Model model = nnunet::open_model(arguments.model, {arguments.folds, arguments.checkpoint});
    const std::int64_t parameters = nnunet::import_model(model, arguments.out);
    fmt::print("model    {}, {}, {} parameters in each of {}\n", model.notes.configuration, model.plans.network.name,
               count_text(parameters), fmt::join(model.folds, ", "));
    fmt::print("written  {}\n", arguments.out.string());
}

}  // namespace

void add_import_command(CLI::App& app) {
    auto arguments = std::make_shared<ImportArguments>();
    CLI::App* command = app.add_subcommand("import", "Turn another program's model into safetensors, without Python");
    command->add_option("kind", arguments->kind, "whose model it is: nnunet")->required();
    command
        ->add_option("model", arguments->model, "results folder: plans.json, dataset.json, fold_K/checkpoint_final.pth")
        ->required();
    command->add_option("-o,--out", arguments->out, "folder of the result, new or empty")->required();
    command->add_option("--folds", arguments->folds, "as 0,1 or all (default: those that there are)")
        ->type_name("K,K|all");
    command->add_option("--checkpoint", arguments->checkpoint, "which of a fold's files")->type_name("NAME");
    command->footer(
        "Example:\n  iwseg import nnunet nnUNetTrainer__nnUNetPlans__3d_fullres --out model\n"
        "iwseg predict --model takes either folder.");
    command->callback([arguments] { run_import(*arguments); });
}

}  // namespace iwseg

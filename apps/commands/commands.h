#pragma once

namespace CLI {
class App;
}

namespace iwseg {

/// Each adds one subcommand with its options, help and example to the iwseg command; its callback does the work and
/// throws InputError for bad input.
void add_demo_command(CLI::App& app);
void add_phantom_command(CLI::App& app);
void add_prepare_command(CLI::App& app);
void add_train_command(CLI::App& app);
void add_predict_command(CLI::App& app);
void add_import_command(CLI::App& app);
void add_evaluate_command(CLI::App& app);
void add_run_command(CLI::App& app);
void add_froc_command(CLI::App& app);
void add_label_command(CLI::App& app);
void add_bench_command(CLI::App& app);
void add_kernel_command(CLI::App& app);
void add_info_command(CLI::App& app);

}  // namespace iwseg

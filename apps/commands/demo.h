#pragma once

#include <string>
#include <vector>

namespace iwseg {

/// One of the two networks that the demonstration trains.
struct DemoRun {
    std::string folder;  ///< under the demo's
    std::string loss;    ///< empty: as configs/demo.toml says
};

/// First without inverse weights, then with.
const std::vector<DemoRun>& demo_runs();

/// The training of a run as `key=value` settings over the defaults: configs/demo.toml, the run's loss and the split.
std::vector<std::string> demo_settings(const DemoRun& run);

}  // namespace iwseg

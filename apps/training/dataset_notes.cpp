#include "apps/training/dataset_notes.h"

#include <fmt/format.h>

#include <cstdio>

namespace iwseg {

void print_notes(const Dataset& dataset) {
    for (const std::string& note : dataset.notes) fmt::print("note     {}\n", note);
    std::fflush(stdout);
}

void print_notes(const Dataset& dataset, const std::vector<int>& labels) {
    print_notes(dataset);
    if (const std::string meaning = LesionLabels(dataset.label_names, labels).sentence(); !meaning.empty())
        fmt::print("labels   {}\n", meaning);
    std::fflush(stdout);
}

}  // namespace iwseg

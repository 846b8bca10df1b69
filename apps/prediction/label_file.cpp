#include "apps/prediction/label_file.h"

#include <utility>
#include <variant>

namespace iwseg {

void write_label_file(const std::filesystem::path& file, const Geometry& geometry, LabelMap labels) {
    std::visit(
        [&]<class T>(std::vector<T>&& voxels) {
            write_volume(file, Volume<T>{geometry, std::move(voxels)});
        },
        labels.take());
}

}  // namespace iwseg

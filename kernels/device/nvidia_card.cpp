#include "kernels/device/nvidia_card.h"

#include <fstream>

namespace iwseg {
namespace {

namespace fs = std::filesystem;

std::string first_word(const fs::path& file) {
    std::ifstream in(file);
    std::string word;
    in >> word;
    return word;
}

}  // namespace

bool has_nvidia_card(const fs::path& root) {
    std::error_code error;
    // The driver's control device; /dev/dxg is what Windows gives its Linux guests in place of it.
    for (const char* device : {"dev/nvidiactl", "dev/dxg"})
        if (fs::exists(root / device, error)) return true;
    for (const fs::directory_entry& entry : fs::directory_iterator(root / "sys/bus/pci/devices", error)) {
        // NVIDIA's number, and the class of display controllers: the vendor makes network cards too.
        const std::string vendor = first_word(entry.path() / "vendor"), kind = first_word(entry.path() / "class");
        if (vendor == "0x10de" && kind.starts_with("0x03")) return true;
    }
    return false;
}

std::string unused_card_text(const std::string& why_unavailable, const fs::path& root) {
    if (why_unavailable.empty() || !has_nvidia_card(root)) return "";
    return "; the NVIDIA GPU is not used (" + why_unavailable + ")";
}

}  // namespace iwseg

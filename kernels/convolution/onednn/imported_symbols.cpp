#include "kernels/convolution/onednn/imported_symbols.h"

#include <elf.h>
#include <link.h>

#include <algorithm>
#include <cstdint>

namespace iwseg {
namespace {

/// An object that is loaded.
struct Object {
    std::uintptr_t wanted;  ///< an address in it
    ElfW(Addr) base = 0;
    const ElfW(Dyn) * dynamic = nullptr;
};

int find_object(dl_phdr_info* info, std::size_t, void* wanted) {
    auto& object = *static_cast<Object*>(wanted);
    bool holds = false;
    const ElfW(Dyn)* dynamic = nullptr;
    for (int segment = 0; segment < info->dlpi_phnum; ++segment) {
        const ElfW(Phdr)& header = info->dlpi_phdr[segment];
        const std::uintptr_t begin = info->dlpi_addr + header.p_vaddr;
        if (header.p_type == PT_LOAD) holds |= object.wanted >= begin && object.wanted - begin < header.p_memsz;
        if (header.p_type == PT_DYNAMIC) dynamic = reinterpret_cast<const ElfW(Dyn)*>(begin);
    }
    if (!holds) return 0;
    object.base = info->dlpi_addr;
    object.dynamic = dynamic;
    return 1;
}

/// Symbols of a table that the hash for GNU's linker covers in part: those before its first are imported, and of those
/// it covers the last is where the last chain ends.
std::size_t count_of_gnu_hash(const std::uint32_t* hash) {
    const std::uint32_t buckets = hash[0], first = hash[1], bloom = hash[2];
    const std::uint32_t* const bucket = hash + 4 + bloom * (sizeof(ElfW(Addr)) / sizeof(std::uint32_t));
    const std::uint32_t* const chain = bucket + buckets;
    std::uint32_t last = buckets > 0 ? *std::max_element(bucket, bucket + buckets) : 0;
    if (last < first) return first;
    while ((chain[last - first] & 1) == 0) ++last;
    return last + std::size_t{1};
}

}  // namespace

std::vector<std::string> imported_symbols(const void* address) {
    Object object{reinterpret_cast<std::uintptr_t>(address)};
    if (dl_iterate_phdr(find_object, &object) == 0 || !object.dynamic) return {};
    // Of some systems the entries are addresses already, of others to be counted from the base.
    const auto at = [&](const ElfW(Dyn) & entry) {
        return entry.d_un.d_ptr < object.base ? object.base + entry.d_un.d_ptr : entry.d_un.d_ptr;
    };
    const ElfW(Sym)* symbols = nullptr;
    const char* names = nullptr;
    std::size_t count = 0;
    for (const ElfW(Dyn)* entry = object.dynamic; entry->d_tag != DT_NULL; ++entry) {
        if (entry->d_tag == DT_SYMTAB) symbols = reinterpret_cast<const ElfW(Sym)*>(at(*entry));
        if (entry->d_tag == DT_STRTAB) names = reinterpret_cast<const char*>(at(*entry));
        if (entry->d_tag == DT_HASH) count = reinterpret_cast<const std::uint32_t*>(at(*entry))[1];
        if (entry->d_tag == DT_GNU_HASH && count == 0)
            count = count_of_gnu_hash(reinterpret_cast<const std::uint32_t*>(at(*entry)));
    }
    std::vector<std::string> imported;
    for (std::size_t s = 1; symbols && names && s < count; ++s)
        if (symbols[s].st_shndx == SHN_UNDEF && symbols[s].st_name != 0)
            imported.emplace_back(names + symbols[s].st_name);
    return imported;
}

}  // namespace iwseg

#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "tests/simt/simt_fences.h"
#include "tests/simt/simt_hooks.h"

// Finds races without luck: two accesses of the same bytes in one launch, by different threads, of which one writes and
// not both are atomic or relaxed, and between which nothing orders: no barrier (in a block), no __syncwarp (of both
// lanes), no __threadfence before an atomic or relaxed write and after a read of what it wrote. That the executor runs
// blocks one after another, and threads until they wait, does not matter: what happened to come first is not asked.
//
// Each four bytes of memory remember up to four accesses of the launch, the ones that a later access is likeliest to
// race with: where more threads than that touch the same bytes in one interval, a race with one of them may go unseen,
// though not with all.
namespace iwseg::simt::executor {

class Races {
  public:
    void begin_launch(const LaunchNote& launch);
    void begin_block();
    void barrier();
    void warp_barrier(int first_thread, unsigned mask);
    void fence(int thread);

    /// Throws nothing; calls report(sentence) where this access of the thread makes a race. `shared`: in the block's
    /// shared memory, which is another for each block.
    template <class Report>
    void see(const Access& access, int thread, bool shared, Report&& report) {
        if (!access.write && access.strength == Strength::plain && is_quiet(access)) return;
        const std::string race = look(access, thread, shared);
        if (!race.empty()) report(race);
    }

  private:
    /// One access of one thread to some of a word's four bytes.
    struct Seen {
        std::uint32_t run = 0;   ///< the block, by number since the program began
        std::uint32_t site = 0;  ///< offset in the program's code
        std::uint16_t barrier = 0, step = 0;
        std::uint16_t thread = 0;
        std::uint8_t bytes = 0;  ///< a bit for each of the four
        bool write : 1 = false, strong : 1 = false;
    };
    using Word = std::array<Seen, 4>;
    /// Plain reads of these bytes tell nothing new: no write is remembered, but reads by two warps (for the interval of
    /// the block) or by two blocks (for the whole launch), with one of which any write will race.
    struct Quiet {
        std::uint32_t run = 0;
        std::uint16_t barrier = 0;
        std::uint8_t bytes = 0;
        bool whole_launch = false;
    };
    static constexpr std::size_t kPage = 1024;  ///< bytes
    struct Page {
        std::array<Quiet, kPage / 4> quiet;
        std::array<Word, kPage / 4> words;
    };

    bool is_quiet(const Access& access) {
        const std::uintptr_t last = access.at + access.bytes - 1;
        if (access.at / kPage != last / kPage) return false;
        const Page& page = page_of(access.at / kPage);
        for (std::uintptr_t word = access.at / 4; word <= last / 4; ++word) {
            const Quiet& quiet = page.quiet[word % (kPage / 4)];
            if (quiet.whole_launch ? quiet.run < first_run_ : quiet.run != run_ || quiet.barrier != barrier_)
                return false;
            const unsigned from = word == access.at / 4 ? access.at % 4 : 0, to = word == last / 4 ? last % 4 : 3;
            if (((2u << to) - (1u << from)) & ~unsigned{quiet.bytes}) return false;
        }
        return true;
    }
    Page& page_of(std::uintptr_t number) {
        const Found& found = found_[number % found_.size()];
        return found.number == number ? *found.page : find_page(number);
    }
    Page& find_page(std::uintptr_t number);
    std::string look(const Access& access, int thread, bool shared);
    void note_quiet(Quiet& quiet, const Word& word, const Seen& now, bool shared) const;
    bool are_ordered(const Seen& before, const Seen& now) const;
    /// The access that races with `now`, or null: then `now` is remembered.
    const Seen* meet(Word& word, const Seen& now, std::uint32_t oldest);
    /// How much an access is worth remembering when `now` must be: the least gives way.
    static int worth_beside(const Seen& before, const Seen& now);
    std::string sentence(const Seen& before, const Seen& now, bool shared) const;
    std::string describe(const Seen& one) const;

    LaunchNote launch_{};
    std::vector<std::size_t> order_;
    std::uint32_t run_ = 0, first_run_ = 1;
    std::uint16_t barrier_ = 0;
    /// Of each thread, how many warp barriers and fences it has met, and up to which step of its warp's lanes it has
    /// waited for.
    std::vector<std::uint16_t> step_;
    std::vector<std::array<std::uint16_t, 32>> waited_;
    bool warps_met_ = false;
    Fences fences_;

    std::vector<std::unique_ptr<Page>> pages_;  ///< kept from launch to launch
    std::size_t pages_used_ = 0;
    std::unordered_map<std::uintptr_t, Page*> page_at_;
    struct Found {
        std::uintptr_t number = 0;
        Page* page = nullptr;
    };
    std::array<Found, 256> found_{};
};

}  // namespace iwseg::simt::executor

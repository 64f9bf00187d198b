// Times parallel regions, as bench/regions.py asks: "WAY CHUNKS TURNS PAUSE SECONDS" comes in, the mean microseconds of
// a region go out. A chunk is TURNS turns of a chain of multiplications. Between two regions the caller takes PAUSE
// turns alone, which do not count. Compiled with -fopenmp for the ways that begin with "omp".
#include <atomic>
#include <chrono>
#include <cstdint>
#include <iostream>
#include <string>

#include "base/parallel.h"

namespace {

using pydl::dim;
using Clock = std::chrono::steady_clock;
using Region = void (*)(dim chunks, dim turns);

void work(dim turns) {
    static thread_local volatile std::uint64_t sink;
    std::uint64_t x = 1;
    for (dim i = 0; i < turns; ++i) x = x * 6364136223846793005u + 1442695040888963407u;
    sink = x;
}

void serial(dim chunks, dim turns) {
    for (dim i = 0; i < chunks; ++i) work(turns);
}

void pool(dim chunks, dim turns) {
    pydl::run_chunks(chunks, [](void* t, dim) { work(*static_cast<dim*>(t)); }, &turns);
}

#if defined(_OPENMP)
void omp_static(dim chunks, dim turns) {
#pragma omp parallel for schedule(static)
    for (dim i = 0; i < chunks; ++i) work(turns);
}

void omp_dynamic(dim chunks, dim turns) {
#pragma omp parallel for schedule(dynamic)
    for (dim i = 0; i < chunks; ++i) work(turns);
}

void omp_claiming(dim chunks, dim turns) {
    std::atomic<dim> next{0};
#pragma omp parallel
    while (next.fetch_add(1, std::memory_order_relaxed) < chunks) work(turns);
}
#endif

Region region(const std::string& way) {
#if defined(_OPENMP)
    if (way == "omp-static") return omp_static;
    if (way == "omp-dynamic") return omp_dynamic;
    if (way == "omp-claiming") return omp_claiming;
#endif
    if (way == "pool") return pool;
    if (way == "serial") return serial;
    return nullptr;
}

}  // namespace

int main() {
    std::string way;
    dim chunks, turns, pause;
    double seconds;
    while (std::cin >> way >> chunks >> turns >> pause >> seconds) {
        const Region run = region(way);
        if (!run) return 1;
        const int at_once = turns ? 1 : 100;  // an empty region takes less than looking at the clock
        const auto end = Clock::now() + std::chrono::duration<double>(seconds);
        Clock::duration spent{};
        dim regions = 0;
        for (; Clock::now() < end; regions += at_once) {
            work(pause);
            const auto start = Clock::now();
            for (int i = 0; i < at_once; ++i) run(chunks, turns);
            spent += Clock::now() - start;
        }
        const double microseconds = std::chrono::duration<double, std::micro>(spent).count();
        std::cout << microseconds / static_cast<double>(regions) << std::endl;
    }
}

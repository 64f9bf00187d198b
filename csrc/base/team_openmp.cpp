// A team made by OpenMP: a thread of ours, the host, opens one parallel region, and its members are the team for as
// long as it lives. What they work on and how they wait is the pool's affair; the barrier at the region's end is met
// once, when the team ends.
//
// Why a host: the runtime keeps its threads with the thread that opened the region. A process forks from a thread that
// calls pydl; in the child that thread knows of no others, and a new host starts from nothing.
#include <dlfcn.h>
#include <omp.h>
#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <mutex>
#include <vector>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "base/team.h"

namespace pydl {
namespace {

// OMP_STACKSIZE in bytes ("512", "512k", " 4 M"; kilobytes without a unit), or 0. The runtime applies it to its own
// threads only; the host has to be given it.
std::size_t stack_size() {
    const char* text = std::getenv("OMP_STACKSIZE");
    if (!text) return 0;
    char* end = nullptr;
    const unsigned long long number = std::strtoull(text, &end, 10);
    if (end == text) return 0;
    const auto skip_space = [&] {
        while (std::isspace(static_cast<unsigned char>(*end))) ++end;
    };
    skip_space();
    const int unit = *end ? std::tolower(static_cast<unsigned char>(*end++)) : 'k';
    skip_space();
    const int shift = unit == 'b' ? 0 : unit == 'k' ? 10 : unit == 'm' ? 20 : unit == 'g' ? 30 : -1;
    return shift < 0 || *end || number > SIZE_MAX >> shift ? 0 : static_cast<std::size_t>(number) << shift;
}

// A thread with the team's stack; false when the system has none for us. A size the system refuses is not applied.
bool create(pthread_t& thread, void* (*run)(void*), void* context) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (const std::size_t bytes = stack_size()) pthread_attr_setstacksize(&attributes, bytes);
    const bool made = pthread_create(&thread, &attributes, run, context) == 0;
    pthread_attr_destroy(&attributes);
    return made;
}

// Threads that are about to end. A joined thread, and one that the runtime lets go, is counted by the limits of the
// system for some microseconds more.
class Leaving {
public:
    explicit Leaving(int count) : ids_(static_cast<std::size_t>(count)) {}

    // Each of them calls it, with a number of its own below `count`.
    void note([[maybe_unused]] int number) {
#if defined(__linux__)
        ids_[static_cast<std::size_t>(number)] = syscall(SYS_gettid);
#endif
    }

    // Waits until the system has forgotten them; false when it has not after a second.
    bool wait() const {
#if defined(__linux__)
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(1);
        for (const long id : ids_)
            while (id && syscall(SYS_tgkill, getpid(), id, 0) == 0) {
                if (std::chrono::steady_clock::now() > end) return false;
                usleep(10);
            }
#endif
        return true;
    }

private:
    std::vector<long> ids_;
};

// How many of `count` threads the system grants. A runtime that is refused a thread ends the process: so as many are
// made before it is asked, all at once, and given back.
int probe(int count) {
    struct Trial {
        explicit Trial(int count) : threads(count) {}
        Leaving threads;
        std::mutex gate;
        std::atomic<int> next{0};
    } trial(count);
    const auto stay = [](void* p) -> void* {
        auto& mine = *static_cast<Trial*>(p);
        mine.threads.note(mine.next.fetch_add(1));
        const std::lock_guard wait(mine.gate);
        return nullptr;
    };
    std::vector<pthread_t> made;
    {
        const std::lock_guard closed(trial.gate);
        for (pthread_t t; static_cast<int>(made.size()) < count && create(t, stay, &trial);) made.push_back(t);
    }
    for (const pthread_t t : made) pthread_join(t, nullptr);
    trial.threads.wait();
    return static_cast<int>(made.size());
}

// Where threads are bound to places, the first of a region is bound to the place of the thread that loaded the runtime,
// as a rule the pool's caller. There the region gets one thread more, which stands for the caller and sleeps.
int stand_ins() { return omp_get_proc_bind() == omp_proc_bind_false ? 0 : 1; }

}  // namespace

struct Team::Threads {
    const int count, stand_ins;
    void (*const member)(void*);
    void* const context;
    Leaving leaving{count + stand_ins};
    std::atomic<int> granted{-1}, returned{0};
    pthread_t host{};

    void run() {
#pragma omp parallel num_threads(count + stand_ins)
        {
            const int number = omp_get_thread_num();
            leaving.note(number);
            if (number == 0) {
                granted.store(omp_get_num_threads() - stand_ins);
                granted.notify_one();
            }
            if (number >= stand_ins) {
                member(context);
                returned.fetch_add(1);
                returned.notify_one();
            } else {  // not at the barrier: with OMP_WAIT_POLICY=active it would keep the caller's place busy
                for (int n; (n = returned.load()) < granted.load();) returned.wait(n);
            }
        }
    }
};

int Team::start(int count, void (*member)(void*), void* context) {
    const int beside = stand_ins();
    count = std::min(count, threading_limit() - 1);
    if (count > 0) count = probe(count + beside) - beside;
    if (count <= 0) return 0;
    threads_ = new Threads{.count = count, .stand_ins = beside, .member = member, .context = context};
    const auto host = [](void* threads) -> void* {
        static_cast<Threads*>(threads)->run();
        return nullptr;
    };
    if (!create(threads_->host, host, threads_)) {
        delete threads_;
        threads_ = nullptr;
        return 0;
    }
    threads_->granted.wait(-1);
    return threads_->granted.load();
}

void Team::join() {
    if (!threads_) return;
    pthread_join(threads_->host, nullptr);
    static std::atomic<bool> runtime_ends_them{true};  // and does not keep them for later, as some do
    if (runtime_ends_them.load()) runtime_ends_them.store(threads_->leaving.wait());
    delete threads_;
    threads_ = nullptr;
}

const char* threading_layer() { return "openmp"; }

// Asked of the loader: another library may have brought the runtime that answers for ours.
std::string threading_runtime() {
    Dl_info library;
    const bool known = dladdr(reinterpret_cast<void*>(&omp_get_num_threads), &library) && library.dli_fname;
    return known ? library.dli_fname : "";
}

int threading_limit() { return std::max(1, omp_get_thread_limit()); }

// Asked of the runtime, which has counted before it bound the thread that loaded it to one place. No more than the
// places have.
int threading_cores() {
    int in_places = 0;
    for (int place = 0; place < omp_get_num_places(); ++place) in_places += omp_get_place_num_procs(place);
    const int cores = std::max(1, omp_get_num_procs());
    return in_places > 0 ? std::min(cores, in_places) : cores;
}

}  // namespace pydl

// A team made by OpenMP: one host thread of ours opens one parallel region, and its members are the team for as long as
// it lives. What a region costs and how it waits is parallel.cpp's affair, not that of OpenMP's barriers.
//
// Why a host: the runtime keeps its threads with the thread that opened the region. A process forks from the thread
// that calls pydl, and finds nothing there that points to threads the child does not have.
#include <dlfcn.h>
#include <omp.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cctype>
#include <cstdlib>
#include <vector>

#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include "base/cores.h"
#include "base/team.h"

namespace pydl {
namespace {

// OMP_STACKSIZE in bytes ("512", "512k", " 4 M", kilobytes without a unit), or 0: the runtime applies it to its own
// threads only, so that the host has to be given it.
std::size_t stack_size() {
    const char* text = std::getenv("OMP_STACKSIZE");
    if (!text) return 0;
    char* end = nullptr;
    const unsigned long long number = std::strtoull(text, &end, 10);
    if (end == text) return 0;
    while (std::isspace(static_cast<unsigned char>(*end))) ++end;
    const char unit = static_cast<char>(std::tolower(static_cast<unsigned char>(*end ? *end++ : 'k')));
    while (std::isspace(static_cast<unsigned char>(*end))) ++end;
    const int shift = unit == 'b' ? 0 : unit == 'k' ? 10 : unit == 'm' ? 20 : unit == 'g' ? 30 : -1;
    return shift < 0 || *end || number > SIZE_MAX >> shift ? 0 : static_cast<std::size_t>(number << shift);
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

// How many of `count` threads the system would grant. A runtime that is refused a thread ends the process, so threads
// are made, all at once, and given back before it is asked. They have left the system's books when we return: a joined
// thread may still be counted by the limits for some microseconds.
int probe(int count) {
    struct Trial {
        pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
        std::atomic<int> next{0};
        std::vector<long> ids;
    } trial;
    trial.ids.resize(static_cast<std::size_t>(count));
    std::vector<pthread_t> threads;
    pthread_mutex_lock(&trial.gate);
    for (pthread_t t; static_cast<int>(threads.size()) < count; threads.push_back(t)) {
        const auto stay = [](void* p) -> void* {
            auto& mine = *static_cast<Trial*>(p);
#if defined(__linux__)
            mine.ids[static_cast<std::size_t>(mine.next.fetch_add(1))] = syscall(SYS_gettid);
#endif
            pthread_mutex_lock(&mine.gate);
            pthread_mutex_unlock(&mine.gate);
            return nullptr;
        };
        if (!create(t, stay, &trial)) break;
    }
    pthread_mutex_unlock(&trial.gate);
    for (const pthread_t t : threads) pthread_join(t, nullptr);
#if defined(__linux__)
    for (int i = 0; i < trial.next.load(); ++i)
        while (syscall(SYS_tgkill, getpid(), trial.ids[static_cast<std::size_t>(i)], 0) == 0) usleep(10);
#endif
    return static_cast<int>(threads.size());
}

// With OMP_PROC_BIND the runtime pins the master of a region where it pinned the thread that loaded it.
bool bound() { return omp_get_proc_bind() != omp_proc_bind_false; }

}  // namespace

struct Team::Threads {
    pthread_t host;
    int count;
    void (*member)(void*);
    void* context;
    std::atomic<int> granted{-1}, returned{0};

    // The host is a member like the others. Where threads are pinned it would be pinned to the caller's place: there
    // the region has one thread more, and its master stands for the caller, asleep.
    void run() {
        const int extra = bound() ? 1 : 0;
#pragma omp parallel num_threads(count + extra)
        {
            if (omp_get_thread_num() == 0) {
                granted.store(omp_get_num_threads() - extra);
                granted.notify_one();
            }
            if (omp_get_thread_num() >= extra) {
                member(context);
                returned.fetch_add(1);
                returned.notify_all();
            } else {  // not at the region's barrier, where OMP_WAIT_POLICY=active would keep the caller's place busy
                for (int n; (n = returned.load()) < granted.load();) returned.wait(n);
            }
        }
    }
};

int Team::start(int count, void (*member)(void*), void* context) {
    count = std::min(count, threading_limit() - 1);
    const int extra = bound() ? 1 : 0;
    if (count > 0) count = probe(count + extra) - extra;
    if (count <= 0) return 0;
    threads_ = new Threads{.host = {}, .count = count, .member = member, .context = context};
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
    delete threads_;
    threads_ = nullptr;
}

const char* threading_layer() { return "openmp"; }

std::string threading_runtime() {
    Dl_info library;
    return dladdr(reinterpret_cast<void*>(&omp_get_num_threads), &library) && library.dli_fname ? library.dli_fname
                                                                                                 : "";
}

int threading_limit() { return std::max(1, omp_get_thread_limit()); }

// Asked of the runtime: with OMP_PROC_BIND the affinity of a pinned thread shows one core. With OMP_PLACES no more
// cores than the places have.
int threading_cores() {
    int cores = std::max(1, omp_get_num_procs()), in_places = 0;
    for (int place = 0; place < omp_get_num_places(); ++place) in_places += omp_get_place_num_procs(place);
    return in_places > 0 ? std::min(cores, in_places) : cores;
}

}  // namespace pydl

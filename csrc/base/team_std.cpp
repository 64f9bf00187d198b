// A team of std::threads: for compilers without OpenMP, and for ThreadSanitizer, which does not see how the threads of
// an OpenMP runtime wait for each other.
#include <limits>
#include <system_error>
#include <thread>
#include <vector>

#include "base/cores.h"
#include "base/team.h"

namespace pydl {

struct Team::Threads {
    std::vector<std::thread> all;
};

int Team::start(int count, void (*member)(void*), void* context) {
    threads_ = new Threads;
    try {
        while (static_cast<int>(threads_->all.size()) < count) threads_->all.emplace_back(member, context);
    } catch (const std::system_error&) {  // the system has no more threads for us: go on with what there is
    }
    return static_cast<int>(threads_->all.size());
}

void Team::join() {
    if (!threads_) return;
    for (std::thread& t : threads_->all) t.join();
    delete threads_;
    threads_ = nullptr;
}

const char* threading_layer() { return "std"; }
std::string threading_runtime() { return ""; }
int threading_limit() { return std::numeric_limits<int>::max(); }
int threading_cores() { return affinity_cores(); }

}  // namespace pydl

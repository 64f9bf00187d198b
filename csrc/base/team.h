// The threads of the pool: who makes and ends them. PYDL_THREADS chooses team_openmp.cpp or team_std.cpp.
#pragma once
#include <string>

namespace pydl {

class Team {
public:
    Team() = default;
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    // Up to `count` threads beside the caller, each of which calls member(context) once. Returns how many there are:
    // fewer where a limit of the library or of the system grants no more. The team must be empty: new, or joined.
    int start(int count, void (*member)(void*), void* context);
    // Waits until all members have returned and their threads are gone.
    void join();

private:
    struct Threads;
    Threads* threads_ = nullptr;
};

// "openmp" or "std".
const char* threading_layer();
// The file of the library that makes the threads; "" where they are made by the C library alone.
std::string threading_runtime();
// The most threads the library grants, the caller included.
int threading_limit();
// The cores the library may place threads on.
int threading_cores();

}  // namespace pydl

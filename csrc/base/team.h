// The threads of the pool: who makes them and ends them. team_openmp.cpp or team_std.cpp, chosen by PYDL_THREADS.
#pragma once
#include <string>

namespace pydl {

class Team {
public:
    Team() = default;
    Team(const Team&) = delete;
    Team& operator=(const Team&) = delete;

    // Up to `count` threads beside the caller, each of which calls member(context) once. Returns how many there are:
    // fewer where a limit or the system grants no more. The team must be empty: new, or joined.
    int start(int count, void (*member)(void* context), void* context);
    // Waits until all members have returned and their threads are gone or on their way.
    void join();

private:
    struct Threads;
    Threads* threads_ = nullptr;
};

// "openmp" or "std".
const char* threading_layer();
// The file of the library that makes the threads; "" where it cannot be told.
std::string threading_runtime();
// The most threads the library grants, the caller included.
int threading_limit();
// The cores the library may place threads on.
int threading_cores();

}  // namespace pydl

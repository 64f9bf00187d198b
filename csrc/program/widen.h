// A call with narrow types of a kernel that has no body for them: arrays are copied to the computed type, its kernel
// runs, what it wrote is copied back. All of these are steps, also of the program that is being recorded, where the
// copies lie in its arena.
#pragma once
#include <memory>
#include <vector>

#include "program/program.h"

namespace pydl {

class Widened {
public:
    // `wide`: the instance for the computed type; `given`: the call as it came, checked; `ready`: addresses of arrays that
    // are of the computed type. Copies take the place of the others in `call`. Made and destroyed under the lock that
    // guards the arena.
    Widened(const Kernel& kernel, const Instance& wide, DType narrow, Call& call, const Given& given,
            const std::vector<word>& ready);
    Widened(const Widened&) = delete;
    Widened& operator=(const Widened&) = delete;
    ~Widened();

    // As pydl::launch.
    dim launch();

private:
    struct Copy {
        word narrow;
        void* wide;
        dim count;
        bool reads, writes;
    };
    word copy_of(word given, const Param& p, dim held, dim count);

    const Kernel& kernel_;
    const Instance& wide_;
    const Casts& casts_;
    Call& call_;
    const std::vector<word>& ready_;
    std::shared_ptr<Arena> arena_;  // null: heap
    std::vector<Copy> copies_;
};

}  // namespace pydl

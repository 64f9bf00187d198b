// Steps that go over an array together, part by part, while each part lies in cache: element-wise steps, and steps
// whose rows stand each for itself (`each:` in kernels.def). Before them may come a step that hands out its result in
// finished parts (`tail:`), as a convolution does. Elements see the same operations in the same order as when the steps
// run one after the other, so the bits are the same.
#pragma once
#include <memory>
#include <vector>

#include "program/program.h"

namespace pydl {

// A step as called for some of its rows.
struct PartStep {
    struct Advance {
        std::size_t param, bytes;  // of a row
    };
    Step step;
    std::size_t params;
    std::vector<Advance> advances;
    std::size_t count = Contract::none, shape = Contract::none;  // the parameter that says how many: a size, a Dims
    dim row;                                                     // elements

    void operator()(dim begin, dim end) const;
};

class Parts {
public:
    // `head` runs first where it has a function; its result, and that of each step, has `elements`.
    Parts(const Step& head, std::vector<PartStep> steps, dim elements);
    dim run() const;

private:
    static void run_part(const void* self, dim begin, dim end);

    Step head_;
    std::vector<PartStep> steps_;
    dim elements_, row_;
};

// The steps of a program in the order and the company in which they run. Where it pays, intermediate values that nobody
// else reads are written over each other: the words of `steps` change. `steps` and `infos` change their order.
struct Plan {
    std::vector<std::unique_ptr<Parts>> parts;
    std::vector<Step> steps;
    std::vector<std::size_t> first;  // of each the number among the steps given
};
Plan plan_of(std::vector<Step>& steps, std::vector<StepInfo>& infos, const Arena& arena);

}  // namespace pydl

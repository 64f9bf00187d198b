// A recorded sequence of kernel calls: step = (function, words). Replay is a loop over the steps.
#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "program/arena.h"
#include "program/kernel.h"

namespace pydl {

struct Watch;
class Parts;

struct Step {
    Thunk thunk;
    AnyFunction function;
    word* words;
};

// What a step is called in errors and profiles; beside the steps to keep those compact.
struct StepInfo {
    const Kernel* kernel;
    const Instance* instance;
    std::uint32_t label;
};

// A CHECK kernel found a bad element: the replay stopped before the steps that follow.
struct Failure {
    const StepInfo* info = nullptr;
    const word* words = nullptr;
    dim position = -1;
    std::size_t planned = 0;  // its number in the order of the run
    explicit operator bool() const { return info != nullptr; }
};

// A variable that changes before a run commits, or a check of the loss, and room for what it was.
struct State {
    std::byte* at;
    std::size_t bytes;
    std::unique_ptr<std::byte[]> copy;
};

class Program {
public:
    Program();
    ~Program();
    Program(const Program&) = delete;
    Program& operator=(const Program&) = delete;

    // Copies the words (fixed part, then the items of Dims and List parameters) and appends the step.
    void append(const Kernel& kernel, const Instance& instance, const word* words, std::size_t count,
                const std::string& label);
    // No more steps. What nobody holds any more is memory of the program's own, and steps run in the company that parts.h
    // finds for them.
    void seal();

    // Stops when a check fails, or when a signal handler raises (then watch().raised): see base/interrupt.h. A step that
    // writes variables commits: before it an interruption abandons the run, and small states that earlier steps have moved
    // on (those of generators, moving averages, metrics) are put back; from it on the run goes on to its end.
    Failure run() const;
    // Seconds of each step, in order; runs the program `repeats` times and keeps the smallest.
    std::vector<double> profile(int repeats) const;

    // Whether a step writes memory that is not in the arena: a variable.
    bool writes_outside() const { return writes_outside_; }

    const std::shared_ptr<Arena>& arena() const { return arena_; }
    // As listed, one kernel each; run one after the other they do the same.
    const std::vector<Step>& steps() const { return steps_; }
    // How many of them run in groups.
    std::size_t grouped() const { return steps_.size() - planned_.size(); }
    const std::vector<StepInfo>& infos() const { return infos_; }
    const std::string& label(std::uint32_t i) const { return labels_[i]; }

private:
    word* store(std::size_t count);
    void keep_all();
    void make_room();
    void note_writes(const Kernel& kernel, const Instance& instance, const word* block);
    Failure run(std::size_t begin, std::size_t end, const Watch& w) const;

    std::shared_ptr<Arena> arena_;
    std::vector<Step> steps_;
    std::vector<StepInfo> infos_;
    std::vector<Step> planned_;       // what runs: steps, and groups of them
    std::vector<std::size_t> first_;  // of each the number of its first step
    std::vector<std::unique_ptr<Parts>> parts_;
    std::vector<State> states_;
    std::vector<State> later_;  // variables written since, without room
    std::size_t commit_ = 0;    // the first planned step that is not cut short, nor those behind it
    std::size_t guarded_ = 0;   // the first behind the last check of the loss
    bool checks_ = false;       // whether a step is a CHECK
    bool committed_ = false, writes_outside_ = false;
    std::vector<std::string> labels_;
    std::vector<std::unique_ptr<word[]>> pages_;
    std::size_t page_used_ = 0, page_size_ = 0;
};

// The words of one call while it is being put together. `items` holds the lists; a list parameter's word is
// its offset there until relocate() turns it into an address.
struct Call {
    static constexpr std::size_t kMaxParams = 40;
    word words[kMaxParams];
    std::size_t count = 0;
    std::vector<word> items;
};

// Per thread: the program that is being recorded (if any), and whether kernels run at all.
struct Recorder {
    Program* open = nullptr;
    bool dry = false;  // shapes only, nothing runs and nothing is recorded
    std::string label;
};
Recorder& recorder();

// The one execution path: runs the call now and, when a recording is open, appends it.
// Returns a CHECK kernel's result, else -1. When a signal handler raised (watch().raised) the kernel was cut short.
// `whole`: it is not cut short, whatever it writes.
dim launch(const Kernel& kernel, const Instance& instance, Call& call, bool whole = false);

// "embedding: check_index: value 12 at position 3 is not allowed (low=0, high=10)".
std::string describe_failure(const std::string& label, const Kernel& kernel, const Instance& instance,
                             const word* words, dim position);

// Runs `batches` rounds of the programs: before each, the next `batch_size` entries of `order` go to `index`.
// Stops early when `seconds` have passed, a check fails or a signal handler raises, which abandons a round as it does a
// run: only the last program of a round may write variables. Returns the number of completed rounds.
struct Loop {
    std::vector<const Program*> programs;
    std::int32_t* index;
    const std::int32_t* order;
    dim batch_size;
};
dim run_loop(const Loop& loop, dim first, dim last, double seconds, Failure& failure);

}  // namespace pydl

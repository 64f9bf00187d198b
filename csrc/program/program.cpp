#include "program/program.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <iterator>
#include <memory>

#include "base/interrupt.h"
#include "base/tail.h"
#include "program/parts.h"

namespace pydl {

namespace {

bool is_list(const Param& p) { return p.kind == Kind::sizes || p.kind == Kind::buffers; }

// List parameters hold an offset into the items; make it an address.
void relocate(const Instance& instance, word* words, const word* items) {
    for (std::size_t i = 0; i < instance.params.size(); ++i)
        if (is_list(instance.params[i])) words[i] = reinterpret_cast<word>(items + words[i]);
}

// f(number of the parameter, of the item, address) for every buffer of a call, those of lists included.
template <class F>
void for_each_buffer(const Instance& instance, const word* words, F f) {
    for (std::size_t i = 0; i < instance.params.size(); ++i) {
        const Kind kind = instance.params[i].kind;
        if (kind == Kind::buffer) f(i, std::size_t{0}, words[i]);
        if (kind != Kind::buffers) continue;
        const auto* list = reinterpret_cast<const word*>(words[i]);
        for (word item = 0; item < list[0]; ++item) f(i, item, list[item + 1]);
    }
}

// Whether a call changes what was there before it, which an interruption would leave half changed. The gates of
// recurrent cells are not meant: the caller has made them for this call.
bool changes_in_place(const Kernel& kernel, const Instance& instance, const word* words) {
    bool changes = false;
    for_each_buffer(instance, words, [&](std::size_t i, std::size_t, word at) {
        const Param& p = instance.params[i];
        if (!p.writes || !at) return;
        if (p.reads) changes |= kernel.family != "recurrent";
        else
            for_each_buffer(instance, words, [&](std::size_t j, std::size_t, word other) {
                changes |= !instance.params[j].writes && other == at;
            });
    });
    return changes;
}

// Whether a call writes memory that is not of the program that is being recorded: variables.
bool writes_outside(const Arena& arena, const Instance& instance, const word* words) {
    bool outside = false;
    for_each_buffer(instance, words, [&](std::size_t i, std::size_t, word at) {
        outside |= instance.params[i].writes && at && !arena.contains(reinterpret_cast<const void*>(at));
    });
    return outside;
}

// Families whose kernels move a small state on before the step is decided: generators, moving statistics, tallies of
// metrics. An abandoned run, and one that a CHECK ends, puts it back.
bool moves_ahead(const Kernel& kernel) {
    return kernel.family == "random" || kernel.family == "norm" || kernel.family == "metric";
}

// While it lives, what runs is not cut short. A kernel that finds no memory throws.
struct Whole {
    Watch& watch;
    explicit Whole(Watch& w, bool whole = true) : watch(w) { watch.whole = whole; }
    ~Whole() { watch.whole = false; }
    Whole(const Whole&) = delete;
    Whole& operator=(const Whole&) = delete;
};

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

Recorder& recorder() {
    thread_local Recorder r;
    return r;
}

Program::Program() : arena_(std::make_shared<Arena>()) {}
Program::~Program() = default;

void Program::seal() {
    arena_->seal();
    Plan plan = plan_of(steps_, infos_, *arena_);
    // No group reaches across these: a step that commits or checks is in none.
    const auto place = [&](std::size_t step) {
        return static_cast<std::size_t>(std::lower_bound(plan.first.begin(), plan.first.end(), step) -
                                        plan.first.begin());
    };
    commit_ = place(commit_);
    guarded_ = place(guarded_);
    planned_ = std::move(plan.steps);
    first_ = std::move(plan.first);
    parts_ = std::move(plan.parts);
}

word* Program::store(std::size_t count) {
    if (page_used_ + count > page_size_) {
        page_size_ = std::max<std::size_t>(512, count);
        page_used_ = 0;
        pages_.push_back(std::make_unique<word[]>(page_size_));
    }
    word* at = pages_.back().get() + page_used_;
    page_used_ += count;
    return at;
}

void Program::append(const Kernel& kernel, const Instance& instance, const word* words, std::size_t count,
                     const std::string& label) {
    // words[0 .. params) with absolute list addresses into words[params .. count).
    word* copy = store(count);
    std::memcpy(copy, words, count * sizeof(word));
    for (std::size_t i = 0; i < instance.params.size(); ++i)
        if (is_list(instance.params[i]))
            copy[i] = reinterpret_cast<word>(copy + (reinterpret_cast<const word*>(words[i]) - words));
    if (labels_.empty() || labels_.back() != label) labels_.push_back(label);
    note_writes(kernel, instance, copy);
    steps_.push_back({instance.thunk, instance.function, copy});
    planned_.push_back(steps_.back());
    first_.push_back(first_.size());
    // Products of matrices need no rest: in a backward pass it would cost memory, and what follows them rarely gains.
    arena_->age(kernel.holds.tail() != Contract::none && kernel.family != "matmul");
    if (!committed_) commit_ = steps_.size();
    checks_ |= !kernel.error.empty();
    if (kernel.error == "FloatingPointError") keep_all();
    infos_.push_back({&kernel, &instance, static_cast<std::uint32_t>(labels_.size() - 1)});
}

// What a step about to be appended does to variables: an abandoned run puts it back, or no run is abandoned any more.
void Program::note_writes(const Kernel& kernel, const Instance& instance, const word* block) {
    const auto& params = instance.params;
    // The contract reads lists as offsets; here they are addresses into the block.
    std::vector<word> words(block, block + params.size());
    for (std::size_t i = 0; i < params.size(); ++i)
        if (is_list(params[i])) words[i] = static_cast<word>(reinterpret_cast<const word*>(block[i]) - block);
    const Given given{words.data(), block, nullptr, nullptr};
    for_each_buffer(instance, block, [&](std::size_t i, std::size_t item, word address) {
        auto* at = reinterpret_cast<std::byte*>(address);
        if (!params[i].writes || !at || arena_->contains(at)) return;
        writes_outside_ = true;
        committed_ |= !moves_ahead(kernel);
        auto& states = committed_ ? later_ : states_;
        auto bytes = dtype_bytes(params[i].dtype);
        for (const dim n : kernel.holds.shape(params, given, i, item)) bytes *= static_cast<std::size_t>(n);
        const auto known = std::find_if(states.begin(), states.end(), [=](const State& s) { return s.at == at; });
        if (known == states.end()) states.push_back({at, bytes, nullptr});
        else known->bytes = std::max(known->bytes, bytes);
        if (!committed_) make_room();
    });
}

// A check of the loss decides whether the run counts: what steps before it have written is put back, too.
void Program::keep_all() {
    for (State& s : later_) states_.push_back(std::move(s));
    later_.clear();
    make_room();
    guarded_ = steps_.size();
}

void Program::make_room() {
    for (State& s : states_) s.copy = std::make_unique<std::byte[]>(s.bytes);
}

Failure Program::run(std::size_t begin, std::size_t end, const Watch& w) const {
    const Step* const steps = planned_.data();
    for (const Step *step = steps + begin, *last = steps + end; step != last; ++step) {
        const dim position = step->thunk(step->function, step->words);
        if (position < 0) [[likely]]
            continue;
        if (w.raised) return {};  // it has checked what a kernel that was cut short has left
        return {&infos_[first_[static_cast<std::size_t>(step - steps)]], step->words, position,
                static_cast<std::size_t>(step - steps)};
    }
    return {};
}

Failure Program::run() const {
    // Steps, each too short to look by itself. Once a handler has raised, kernels return at their first poll: the steps
    // behind it write the arena only, and need not be kept from running.
    constexpr std::size_t kLook = 64;
    Watch& w = watch();
    const OfferedTail none(nullptr);
    const bool saved = !states_.empty() && (checks_ || may_be_cut(w));
    if (saved)
        for (const State& s : states_) std::memcpy(s.copy.get(), s.at, s.bytes);
    const auto put_back = [&] {
        if (saved)
            for (const State& s : states_) std::memcpy(s.at, s.copy.get(), s.bytes);
    };
    for (std::size_t begin = 0, end; begin < commit_; begin = end) {
        end = std::min(begin + kLook, commit_);
        const Failure failure = run(begin, end, w);
        if (failure || w.raised || (end - begin == kLook && look(w))) {
            put_back();
            return failure;
        }
    }
    if (commit_ == planned_.size()) return {};
    const Whole whole(w);
    const Failure failure = run(commit_, planned_.size(), w);
    if (failure && failure.planned < guarded_) put_back();
    return failure;
}

std::vector<double> Program::profile(int repeats) const {
    std::vector<double> best(steps_.size(), 1e30);
    Watch& w = watch();
    for (int r = 0; r < repeats && !look(w); ++r) {
        const Whole whole(w);  // between rounds only
        for (std::size_t i = 0; i < steps_.size(); ++i) {
            const double start = now();
            steps_[i].thunk(steps_[i].function, steps_[i].words);
            best[i] = std::min(best[i], now() - start);
        }
    }
    return best;
}

dim launch(const Kernel& kernel, const Instance& instance, Call& call, bool whole) {
    Recorder& r = recorder();
    if (r.dry) return -1;
    // One contiguous block: parameters, then the items of their lists. Not one per thread: a signal handler may launch
    // kernels while this one runs.
    const std::size_t size = call.count + call.items.size();
    word few[128];
    const auto many = size > std::size(few) ? std::make_unique<word[]>(size) : nullptr;
    word* block = many ? many.get() : few;
    std::memcpy(block, call.words, call.count * sizeof(word));
    if (!call.items.empty()) std::memcpy(block + call.count, call.items.data(), call.items.size() * sizeof(word));
    relocate(instance, block, block + call.count);
    Watch& w = watch();
    const OfferedTail none(nullptr);
    dim result;
    {
        const Whole uncut(w, whole || (r.open ? writes_outside(*r.open->arena(), instance, block)
                                              : changes_in_place(kernel, instance, block)));
        result = instance.thunk(instance.function, block);
    }
    if (r.open && !w.raised) r.open->append(kernel, instance, block, size, r.label);
    return result;
}

namespace {

template <class T>
std::string element_text(const void* data, dim position) {
    // A CHECK sees a narrow type as what it is computed as.
    if constexpr (is_narrow<T>) return "?";
    else return std::to_string(static_cast<const T*>(data)[position]);
}

std::string element_text(DType type, const void* data, dim position) {
    switch (type) {
#define TYPE(name, stored, computed, kind, rows)                   \
    case DType::name: return element_text<stored>(data, position);
#include "types.def"
#undef TYPE
    }
    return "?";
}

}  // namespace

std::string describe_failure(const std::string& label, const Kernel& kernel, const Instance& instance,
                             const word* words, dim position) {
    std::string text = label.empty() ? kernel.name : label + ": " + kernel.name;
    text += ": value " + element_text(instance.params[0].dtype, reinterpret_cast<const void*>(words[0]), position);
    text += " at position " + std::to_string(position) + " is not allowed";
    std::string limits;
    for (std::size_t i = 1; i < instance.params.size(); ++i) {
        const Param& p = instance.params[i];
        if (p.kind != Kind::size || p.name == "n") continue;
        limits += (limits.empty() ? "" : ", ") + p.name + "=" + std::to_string(static_cast<dim>(words[i]));
    }
    return limits.empty() ? text : text + " (" + limits + ")";
}

dim run_loop(const Loop& loop, dim first, dim last, double seconds, Failure& failure) {
    const double deadline = now() + seconds;
    // Looking at the clock costs about as much as a tiny kernel: once per 16 rounds is enough for ticks of
    // milliseconds, unless the rounds themselves are long.
    double checked = now();
    dim stride = 1, next_check = first + 1;
    for (dim i = first; i < last; ++i) {
        std::memcpy(loop.index, loop.order + i * loop.batch_size,
                    static_cast<std::size_t>(loop.batch_size) * sizeof(std::int32_t));
        for (const Program* program : loop.programs) {
            failure = program->run();
            if (failure || watch().raised) return i - first;
        }
        if (i + 1 >= next_check) {
            const double t = now();
            if (t >= deadline || look(watch())) return i + 1 - first;
            if (t - checked < 1e-3) stride = std::min<dim>(stride * 2, 64);
            else if (t - checked > 1e-2) stride = std::max<dim>(stride / 2, 1);
            checked = t;
            next_check = i + 1 + stride;
        }
    }
    return last - first;
}

}  // namespace pydl

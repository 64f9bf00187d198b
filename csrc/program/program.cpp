#include "program/program.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace pydl {

namespace {

bool is_list(const Param& p) { return p.kind == Kind::sizes || p.kind == Kind::buffers; }

// List parameters hold an offset into the items; make it an address.
void relocate(const Instance& instance, word* words, const word* items) {
    for (std::size_t i = 0; i < instance.params.size(); ++i)
        if (is_list(instance.params[i])) words[i] = reinterpret_cast<word>(items + words[i]);
}

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

}  // namespace

Recorder& recorder() {
    thread_local Recorder r;
    return r;
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
    steps_.push_back({instance.thunk, instance.function, copy});
    infos_.push_back({&kernel, &instance, static_cast<std::uint32_t>(labels_.size() - 1)});
}

Failure Program::run() const {
    for (const Step& step : steps_) {
        const dim position = step.thunk(step.function, step.words);
        if (position >= 0) [[unlikely]]
            return {&infos_[static_cast<std::size_t>(&step - steps_.data())], step.words, position};
    }
    return {};
}

bool Program::writes_outside() const {
    const auto outside = [&](word address) {
        return address && !arena_->contains(reinterpret_cast<const void*>(address));
    };
    for (std::size_t s = 0; s < steps_.size(); ++s) {
        const auto& params = infos_[s].instance->params;
        for (std::size_t i = 0; i < params.size(); ++i) {
            if (!params[i].writes) continue;
            const word w = steps_[s].words[i];
            if (params[i].kind == Kind::buffer && outside(w)) return true;
            if (params[i].kind != Kind::buffers) continue;
            const auto* items = reinterpret_cast<const word*>(w);
            if (std::any_of(items + 1, items + 1 + items[0], outside)) return true;
        }
    }
    return false;
}

std::vector<double> Program::profile(int repeats) const {
    std::vector<double> best(steps_.size(), 1e30);
    for (int r = 0; r < repeats; ++r)
        for (std::size_t i = 0; i < steps_.size(); ++i) {
            const double start = now();
            steps_[i].thunk(steps_[i].function, steps_[i].words);
            best[i] = std::min(best[i], now() - start);
        }
    return best;
}

dim launch(const Kernel& kernel, const Instance& instance, Call& call) {
    Recorder& r = recorder();
    if (r.dry) return -1;
    // One contiguous block: parameters, then the items of their lists.
    thread_local std::vector<word> block;
    block.resize(call.count + call.items.size());
    std::memcpy(block.data(), call.words, call.count * sizeof(word));
    if (!call.items.empty())
        std::memcpy(block.data() + call.count, call.items.data(), call.items.size() * sizeof(word));
    relocate(instance, block.data(), block.data() + call.count);
    const dim result = instance.thunk(instance.function, block.data());
    if (r.open) r.open->append(kernel, instance, block.data(), block.size(), r.label);
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
            if (failure) return i - first;
        }
        if (i + 1 >= next_check) {
            const double t = now();
            if (t >= deadline) return i + 1 - first;
            if (t - checked < 1e-3) stride = std::min<dim>(stride * 2, 64);
            else if (t - checked > 1e-2) stride = std::max<dim>(stride / 2, 1);
            checked = t;
            next_check = i + 1 + stride;
        }
    }
    return last - first;
}

}  // namespace pydl

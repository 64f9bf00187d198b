#include "program/parts.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "base/tail.h"

namespace pydl {

namespace {

// Elements of a part: three arrays of floats fill half of an L1 cache.
constexpr dim kPart = 2048;
// Elements of a chunk of a thread, and below which arrays stay in L1 by themselves.
constexpr dim kChunk = 16384, kFew = 2 * kPart;
constexpr std::size_t kMostSteps = 16;
// Steps that may stand between those of one group: they move before it.
constexpr std::size_t kMostBetween = 2;

}  // namespace

void PartStep::operator()(dim begin, dim end) const {
    word words[Call::kMaxParams];
    std::memcpy(words, step.words, params * sizeof(word));
    for (const Advance& a : advances) words[a.param] += static_cast<word>(begin / row) * a.bytes;
    const dim list[] = {1, end - begin};
    if (count != Contract::none) words[count] = static_cast<word>((end - begin) / row);
    if (shape != Contract::none) words[shape] = reinterpret_cast<word>(list);
    step.thunk(step.function, words);
}

Parts::Parts(const Step& head, std::vector<PartStep> steps, dim elements)
    : head_(head), steps_(std::move(steps)), elements_(elements), row_(1) {
    for (const PartStep& s : steps_) row_ = std::max(row_, s.row);
}

void Parts::run_part(const void* self, dim begin, dim end) {
    const auto& all = *static_cast<const Parts*>(self);
    const dim part = std::max(dim{1}, kPart / all.row_) * all.row_;
    for (dim i = begin; i < end; i += part)
        for (const PartStep& s : all.steps_) s(i, std::min(end, i + part));
}

dim Parts::run() const {
    if (head_.thunk) {
        const Tail tail{&run_part, this, row_};
        const OfferedTail offer(&tail);
        head_.thunk(head_.function, head_.words);
        if (offer.taken()) return -1;
    }
    const OfferedTail none(nullptr);
    parallel_for(elements_ / row_, std::max(dim{1}, kChunk / row_),
                 [this](dim begin, dim end) { run_part(this, begin * row_, end * row_); });
    return -1;
}

namespace {

// Memory that a step touches. `apart`: row after row, as the steps of a group must.
struct Use {
    std::size_t param;
    word begin, end;
    bool reads, writes, apart;

    bool meets(const Use& other) const { return begin < other.end && other.begin < end; }
    bool is(const Use& other) const { return begin == other.begin && end == other.end; }
};

// What the planner knows of a step.
struct Facts {
    std::vector<Use> uses;
    bool movable = true;                // writes the arena only, is no CHECK
    dim elements = 0, row = 0;          // of a step that may run part by part; 0: it may not
    std::size_t tail = Contract::none;  // use that is the result of one that takes a tail
};

Facts facts_of(const Step& step, const StepInfo& info, const Arena& arena) {
    const auto& params = info.instance->params;
    const Contract& holds = info.kernel->holds;
    Facts f;
    f.movable = !info.kernel->is_check();
    // The contract reads lists as offsets; recorded they are addresses into the step's own block.
    std::vector<word> words(step.words, step.words + params.size());
    bool apart = !info.kernel->is_check(), lists = false;
    for (std::size_t i = 0; i < params.size(); ++i)
        if (params[i].kind == Kind::sizes || params[i].kind == Kind::buffers) {
            words[i] = static_cast<word>(reinterpret_cast<const word*>(step.words[i]) - step.words);
            lists |= params[i].kind == Kind::sizes;
            apart &= params[i].kind == Kind::sizes;
        }
    const Given given{words.data(), step.words, nullptr, nullptr};
    const auto elements_of = [&](std::size_t i, std::size_t item) {
        dim n = 1;
        for (const dim factor : holds.shape(params, given, i, item)) n *= factor;
        return n;
    };
    const auto use = [&](std::size_t i, std::size_t item, word at) {
        if (!at) return;
        const Param& p = params[i];
        const dim n = elements_of(i, item);
        // Where values decide how much is read, it may be all that follows.
        const word end = n == 0 && p.reads ? ~word{0} : at + static_cast<word>(n) * dtype_bytes(p.dtype);
        f.uses.push_back({i, at, end, p.reads, p.writes, holds.each() != Contract::none && holds.is_apart(i)});
        apart &= p.dtype == computed_as(p.dtype);
        if (p.writes && !arena.contains(reinterpret_cast<const void*>(at))) f.movable = false;
        if (i == holds.tail()) f.tail = f.uses.size() - 1;
    };
    for (std::size_t i = 0; i < params.size(); ++i) {
        if (params[i].kind == Kind::buffer) use(i, 0, step.words[i]);
        if (params[i].kind != Kind::buffers) continue;
        const auto* list = reinterpret_cast<const word*>(step.words[i]);
        for (word item = 0; item < list[0]; ++item) use(i, item, list[item + 1]);
    }
    if (!f.movable) f.tail = Contract::none;
    apart &= f.movable;
    if (f.tail != Contract::none) f.elements = elements_of(f.uses[f.tail].param, 0);
    if (!apart) return f;
    if (holds.each() != Contract::none && !lists) {
        const dim rows = static_cast<dim>(step.words[holds.each()]);
        for (const Use& u : f.uses)
            if (u.writes && u.apart && rows > 0) {
                f.elements = elements_of(u.param, 0);
                f.row = f.elements / rows;
            }
    } else if (info.kernel->each && lists) {
        // (operands, y, shape, strides...): one axis, each operand read along it or one number.
        std::size_t shape = 0;
        while (params[shape].kind != Kind::sizes) ++shape;
        const auto list = [&](std::size_t i) { return reinterpret_cast<const dim*>(step.words[i]); };
        if (shape + f.uses.size() > params.size() || list(shape)[0] != 1) return f;
        for (std::size_t i = 0; i < f.uses.size(); ++i) {
            Use& u = f.uses[i];
            u.apart = u.writes || list(shape + 1 + i)[1] == 1;
            if (!u.apart && list(shape + 1 + i)[1] != 0) return f;
        }
        f.elements = list(shape)[1];
        f.row = 1;
    }
    return f;
}

class Planner {
public:
    Planner(std::vector<Step>& steps, std::vector<StepInfo>& infos, const Arena& arena)
        : steps_(steps), infos_(infos), arena_(arena) {
        facts_.reserve(steps.size());
        for (std::size_t i = 0; i < steps.size(); ++i) facts_.push_back(facts_of(steps[i], infos[i], arena));
    }

    Plan plan() {
        Plan all;
        for (std::size_t i = 0; i < steps_.size();) {
            all.first.push_back(i);
            const std::size_t end = gather(i);
            if (end == i) {
                all.steps.push_back(steps_[i++]);
                continue;
            }
            // What moved before the group runs as it did.
            for (std::size_t k = 0; k < between_; ++k) {
                all.steps.push_back(steps_[i + k]);
                all.first.push_back(i + k + 1);
            }
            const std::size_t begin = i + between_;
            share(begin, end);
            all.parts.push_back(made(begin, end));
            all.steps.push_back(
                {[](AnyFunction, const word* words) { return reinterpret_cast<const Parts*>(words)->run(); }, nullptr,
                 reinterpret_cast<word*>(all.parts.back().get())});
            i = end;
        }
        return all;
    }

private:
    bool has_head(std::size_t begin) const { return facts_[begin].tail != Contract::none; }

    // The end of the group that begins at step `i`, `i` where none does. Steps between its own go before it: `between_`
    // says how many stand there then.
    std::size_t gather(std::size_t i) {
        between_ = 0;
        const Facts& first = facts_[i];
        const bool head = first.tail != Contract::none;
        if ((!head && first.row == 0) || first.elements < kFew) return i;
        std::vector<std::size_t> group{i}, aside;
        std::size_t end = i + 1;  // behind the last of the group
        for (std::size_t j = i + 1; j < steps_.size() && group.size() < kMostSteps; ++j) {
            if (joins(j, group, head)) {
                group.push_back(j);
                end = j + 1;
            } else {
                if (aside.size() == kMostBetween || !stands_aside(j, group)) break;
                aside.push_back(j);
            }
        }
        if (group.size() < 2) return i;
        while (!aside.empty() && aside.back() >= end) aside.pop_back();
        between_ = aside.size();
        for (std::size_t k = 0; k < aside.size(); ++k) {  // in their order, one after the other, to the front
            const auto to_front = [&](auto& all) {
                const auto begin = all.begin() + static_cast<std::ptrdiff_t>(i + k);
                const auto from = all.begin() + static_cast<std::ptrdiff_t>(aside[k]);
                std::rotate(begin, from, from + 1);
            };
            to_front(steps_);
            to_front(infos_);
            to_front(facts_);
        }
        return end;
    }

    // Whether step j may run part by part with the group: what both touch, and one writes, are the same elements.
    bool joins(std::size_t j, const std::vector<std::size_t>& group, bool head) const {
        const Facts& f = facts_[j];
        if (f.row == 0 || f.elements != facts_[group[0]].elements) return false;
        bool follows = !head || group.size() > 1;  // the first reads what the head writes
        for (std::size_t g = 0; g < group.size(); ++g) {
            const Facts& other = facts_[group[g]];
            const bool is_head = head && g == 0;
            if (!is_head && f.row != 1 && other.row != 1 && f.row != other.row) return false;
            for (const Use& theirs : other.uses) {
                const bool apart = is_head ? &theirs == &other.uses[other.tail] : theirs.apart;
                for (const Use& ours : f.uses) {
                    if (!(ours.writes || theirs.writes) || !ours.meets(theirs)) continue;
                    if (!apart || !ours.apart || !ours.is(theirs)) return false;
                    follows |= is_head;
                }
            }
        }
        return follows;
    }

    // Whether step j may run before the group.
    bool stands_aside(std::size_t j, const std::vector<std::size_t>& group) const {
        if (!facts_[j].movable) return false;
        for (const std::size_t g : group)
            for (const Use& theirs : facts_[g].uses)
                for (const Use& ours : facts_[j].uses)
                    if ((ours.writes || theirs.writes) && ours.meets(theirs)) return false;
        return true;
    }

    // Lets a value that only the group sees lie where the step that reads it last writes: it need not leave the cache.
    void share(std::size_t begin, std::size_t end) {
        for (std::size_t k = begin + 1; k < end; ++k)
            for (const Use& read : std::vector<Use>(facts_[k].uses)) {
                if (!read.reads || read.writes || !read.apart || !made_within(read, begin, k)) continue;
                const auto& uses = facts_[k].uses;
                const auto write = std::find_if(uses.begin(), uses.end(), [&](const Use& u) {
                    return u.writes && !u.reads && u.apart && u.end - u.begin == read.end - read.begin;
                });
                if (write == uses.end() || touched(*write, begin, k) || !is_last(read, k)) continue;
                if (std::any_of(uses.begin(), uses.end(), [&](const Use& u) { return u.reads && u.meets(*write); }))
                    continue;
                const Use to = *write;
                for (std::size_t s = begin; s <= k; ++s) rename(s, read, to.begin);
            }
    }
    // Whether a step of begin .. k writes it whole, and none reads it as something else.
    bool made_within(const Use& value, std::size_t begin, std::size_t k) const {
        for (std::size_t s = begin; s < k; ++s)
            for (const Use& u : facts_[s].uses)
                if (u.meets(value)) return u.is(value) && u.writes && !u.reads;
        return false;
    }
    bool touched(const Use& place, std::size_t begin, std::size_t k) const {
        for (std::size_t s = begin; s < k; ++s)
            for (const Use& u : facts_[s].uses)
                if (u.meets(place)) return true;
        return false;
    }
    // Whether nobody reads the value behind step k: no step, and nobody who holds the array.
    bool is_last(const Use& value, std::size_t k) const {
        if (!arena_.contains(reinterpret_cast<const void*>(value.begin)) ||
            arena_.is_held(reinterpret_cast<const void*>(value.begin), reinterpret_cast<const void*>(value.end)))
            return false;
        std::vector<std::pair<word, word>> left{{value.begin, value.end}};
        for (std::size_t s = k + 1; s < steps_.size() && !left.empty(); ++s) {
            for (const Use& u : facts_[s].uses)
                if (u.reads)
                    for (const auto& [from, to] : left)
                        if (u.begin < to && from < u.end) return false;
            for (const Use& u : facts_[s].uses)
                if (u.writes) cut(left, u.begin, u.end);
        }
        return true;
    }
    static void cut(std::vector<std::pair<word, word>>& left, word begin, word end) {
        std::vector<std::pair<word, word>> rest;
        for (const auto& [from, to] : left) {
            if (from < std::min(to, begin)) rest.push_back({from, std::min(to, begin)});
            if (std::max(from, end) < to) rest.push_back({std::max(from, end), to});
        }
        left = std::move(rest);
    }
    void rename(std::size_t s, const Use& value, word to) {
        for (Use& u : facts_[s].uses)
            if (u.is(value)) {
                steps_[s].words[u.param] = to;
                u.end += to - u.begin;
                u.begin = to;
            }
    }

    std::unique_ptr<Parts> made(std::size_t begin, std::size_t end) const {
        const bool head = has_head(begin);
        std::vector<PartStep> all;
        for (std::size_t s = begin + head; s < end; ++s) {
            const auto& params = infos_[s].instance->params;
            PartStep part{steps_[s], params.size(), {}, Contract::none, Contract::none, facts_[s].row};
            for (const Use& u : facts_[s].uses)
                if (u.apart)
                    part.advances.push_back(
                        {u.param, (u.end - u.begin) / static_cast<word>(facts_[s].elements / facts_[s].row)});
            if (params.back().kind == Kind::sizes) {
                part.shape = 0;
                while (params[part.shape].kind != Kind::sizes) ++part.shape;
            } else {
                part.count = infos_[s].kernel->holds.each();
            }
            all.push_back(std::move(part));
        }
        return std::make_unique<Parts>(head ? steps_[begin] : Step{}, std::move(all), facts_[begin].elements);
    }

    std::vector<Step>& steps_;
    std::vector<StepInfo>& infos_;
    const Arena& arena_;
    std::vector<Facts> facts_;
    std::size_t between_ = 0;
};

}  // namespace

Plan plan_of(std::vector<Step>& steps, std::vector<StepInfo>& infos, const Arena& arena) {
    return Planner(steps, infos, arena).plan();
}

}  // namespace pydl

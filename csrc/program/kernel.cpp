#include "program/kernel.h"

#include <stdexcept>
#include <unordered_map>

namespace pydl {

const char* dtype_name(DType t) {
    switch (t) {
#define TYPE(name, stored, computed, kind, rows) \
    case DType::name: return #name;
#include "types.def"
#undef TYPE
    }
    return "?";
}

std::size_t dtype_bytes(DType t) {
    static constexpr std::size_t bytes[] = {
#define TYPE(name, stored, computed, kind, rows) sizeof(stored),
#include "types.def"
#undef TYPE
    };
    return bytes[static_cast<int>(t)];
}

DType computed_as(DType t) {
    static constexpr DType types[] = {
#define TYPE(name, stored, computed, kind, rows) dtype_of<computed>(),
#include "types.def"
#undef TYPE
    };
    return types[static_cast<int>(t)];
}

std::vector<Kernel>& kernels() {
    static std::vector<Kernel> all;
    return all;
}

namespace {

// Where in `kernels()` each name stands.
std::unordered_map<std::string, std::size_t>& places() {
    static std::unordered_map<std::string, std::size_t> all;
    return all;
}

Kernel* find_kernel(const std::string& name) {
    const auto place = places().find(name);
    return place == places().end() ? nullptr : &kernels()[place->second];
}

}  // namespace

void add_kernel(const char* family, const char* name, const char* signature, const char* contract, const char* error,
                bool each) {
    if (!places().emplace(name, kernels().size()).second)
        throw std::logic_error(std::string("kernels.def declares ") + name + " twice");
    kernels().push_back({name, family, signature, contract, error, each});
}

std::string pair_name(const char* name, DType to) { return std::string(name) + "_to_" + dtype_name(to); }

void add_pairs(const char* family, const char* name, const char* signature, const char* contract) {
    const auto add = [&](DType to, const std::string& element) {
        std::string text = signature;
        text.replace(text.find("<U>"), 3, "<" + element + ">");
        add_kernel(family, pair_name(name, to).c_str(), text.c_str(), contract, "", true);
    };
#define TYPE(name, stored, computed, kind, rows) add(DType::name, #stored);
#include "types.def"
#undef TYPE
}

void add_instance(const char* name, DType type, const Entry& entry) {
    Instance instance{entry.function, entry.thunk, {}};
    for (std::size_t i = 0; i < entry.count; ++i) instance.params.push_back({entry.params[i]});
    find_kernel(name)->instances[static_cast<std::size_t>(type)] = std::move(instance);
}

void add_pair_instance(const char* name, DType from, DType to, const Entry& entry) {
    add_instance(pair_name(name, to).c_str(), from, entry);
}

namespace {

// "(In<T> x, Dims shape)" -> {"x", "shape"}, {"In<T>", "Dims"}.
void split_signature(const std::string& text, std::vector<std::string>& names, std::vector<std::string>& types) {
    std::string inner = text.substr(1, text.size() - 2);
    std::size_t start = 0;
    int depth = 0;
    for (std::size_t i = 0; i <= inner.size(); ++i) {
        if (i < inner.size() && inner[i] == '<') ++depth;
        if (i < inner.size() && inner[i] == '>') --depth;
        if (i == inner.size() || (inner[i] == ',' && depth == 0)) {
            std::string one = inner.substr(start, i - start);
            one = one.substr(one.find_first_not_of(' '));
            const auto space = one.find_last_of(' ');
            types.push_back(one.substr(0, space));
            names.push_back(one.substr(space + 1));
            start = i + 1;
        }
    }
}

}  // namespace

void finish_kernels() {
    for (auto& kernel : kernels()) {
        std::vector<std::string> names, types;
        split_signature(kernel.signature, names, types);
        const std::vector<Param>* any = nullptr;
        for (auto& instance : kernel.instances) {
            if (!instance) continue;
            for (std::size_t i = 0; i < instance->params.size(); ++i) {
                instance->params[i].name = names.at(i);
                instance->params[i].generic = types.at(i).find("<T>") != std::string::npos;
            }
            if (!any) any = &instance->params;
        }
        if (!any) continue;
        try {  // once: a contract names parameters by place, which is the same in every instance
            const bool plain = kernel.each && any->back().kind == Kind::size;
            kernel.holds = Contract(kernel.contract + (plain ? "; each: " + names.back() : ""), *any);
        } catch (const std::logic_error& e) { throw std::logic_error("kernels.def: " + kernel.name + ": " + e.what()); }
    }
}

const Casts& casts_of(DType narrow) {
    static const std::array<Casts, kDTypes> all = [] {
        const auto cast = [](DType to) { return find_kernel(pair_name("cast", to)); };
        std::array<Casts, kDTypes> casts;
        for (int t = 0; t < kDTypes; ++t) {
            const auto stored = static_cast<DType>(t), computed = computed_as(stored);
            const Kernel *widening = cast(computed), *narrowing = cast(stored);
            casts[static_cast<std::size_t>(t)] = {computed, widening, narrowing, &*widening->instances[t],
                                                  &*narrowing->instances[static_cast<std::size_t>(computed)]};
        }
        return casts;
    }();
    return all[static_cast<std::size_t>(narrow)];
}

void convert(const Instance& cast, const void* from, void* to, dim n) {
    const word words[] = {reinterpret_cast<word>(from), reinterpret_cast<word>(to), static_cast<word>(n)};
    cast.thunk(cast.function, words);
}

}  // namespace pydl

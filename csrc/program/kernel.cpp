#include "program/kernel.h"

#include <stdexcept>

namespace pydl {

const char* dtype_name(DType t) {
    switch (t) {
#define TYPE(name, stored, kind, rows) \
    case DType::name: return #name;
#include "types.def"
#undef TYPE
    }
    return "?";
}

std::size_t dtype_bytes(DType t) {
    switch (t) {
#define TYPE(name, stored, kind, rows)       \
    case DType::name: return sizeof(stored);
#include "types.def"
#undef TYPE
    }
    return 0;
}

std::vector<Kernel>& kernels() {
    static std::vector<Kernel> all;
    return all;
}

void add_instance(const char* family, const char* name, const char* signature, const char* contract, const char* error,
                  DType type, Instance instance) {
    auto& all = kernels();
    Kernel* kernel = nullptr;
    for (auto& k : all)
        if (k.name == name) kernel = &k;
    if (!kernel) kernel = &all.emplace_back(Kernel{name, family, signature, contract, error});
    auto& slot = kernel->instances[static_cast<int>(type)];
    if (slot) throw std::logic_error(std::string("kernels.def declares ") + name + " twice");
    slot = std::move(instance);
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
        for (auto& instance : kernel.instances) {
            if (!instance) continue;
            for (std::size_t i = 0; i < instance->params.size(); ++i) {
                instance->params[i].name = names.at(i);
                instance->params[i].generic = types.at(i).find("<T>") != std::string::npos;
            }
            try {
                kernel.holds = Contract(kernel.contract, instance->params);
            } catch (const std::logic_error& e) {
                throw std::logic_error("kernels.def: " + kernel.name + ": " + e.what());
            }
        }
    }
}

}  // namespace pydl

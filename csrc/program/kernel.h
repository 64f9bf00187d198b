// What the runtime knows of a kernel: name, parameters, one instance per element type. Everything is
// deduced from the function type of its row in kernels.def.
#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/dtypes.h"
#include "program/contract.h"

namespace pydl {

const char* dtype_name(DType t);
std::size_t dtype_bytes(DType t);
// What values of the type are computed as: itself, or the type a narrow one is widened to.
DType computed_as(DType t);

enum class Kind : std::uint8_t { buffer, size, scalar, sizes, buffers };

struct ParamType {
    Kind kind;
    bool reads = false, writes = false, optional = false;
    DType dtype = DType::float32;
};
struct Param : ParamType {
    bool generic = false;  // of type T: decides which instance runs
    std::string name = {};
};

using AnyFunction = void (*)();
// Unpacks the words and calls; a CHECK kernel's result comes back, any other gives -1.
using Thunk = dim (*)(AnyFunction, const word*);

struct Instance {
    AnyFunction function;
    Thunk thunk;
    std::vector<Param> params;
};
// An instance as its row gives it: constants and addresses only, so that 3,000 of them cost the compiler little.
struct Entry {
    AnyFunction function;
    Thunk thunk;
    const ParamType* params;
    std::size_t count;
};

struct Kernel {
    std::string name, family, signature;
    std::string contract = {};  // its text
    std::string error = {};     // CHECK rows: what Python raises for a bad element
    bool each = false;          // ..._EACH rows: every element stands for itself
    Contract holds = {};
    bool is_check() const { return !error.empty(); }
    std::array<std::optional<Instance>, kDTypes> instances = {};
};

template <class A>
struct ParamOf {
    static_assert(sizeof(A) == 0, "a kernel parameter is In, Out, InOut, OptIn, OptOut, dim, real, Dims or List");
};
template <class T>
struct ParamOf<In<T>> {
    static constexpr ParamType make() { return {Kind::buffer, true, false, false, dtype_of<T>()}; }
};
template <class T>
struct ParamOf<Out<T>> {
    static constexpr ParamType make() { return {Kind::buffer, false, true, false, dtype_of<T>()}; }
};
template <class T>
struct ParamOf<InOut<T>> {
    static constexpr ParamType make() { return {Kind::buffer, true, true, false, dtype_of<T>()}; }
};
template <class T>
struct ParamOf<OptIn<T>> {
    static constexpr ParamType make() { return {Kind::buffer, true, false, true, dtype_of<T>()}; }
};
template <class T>
struct ParamOf<OptOut<T>> {
    static constexpr ParamType make() { return {Kind::buffer, false, true, true, dtype_of<T>()}; }
};
template <>
struct ParamOf<dim> {
    static constexpr ParamType make() { return {Kind::size}; }
};
template <>
struct ParamOf<real> {
    static constexpr ParamType make() { return {Kind::scalar}; }
};
template <>
struct ParamOf<Dims> {
    static constexpr ParamType make() { return {Kind::sizes}; }
};
template <class Access>
struct ParamOf<List<Access>> {
    static constexpr ParamType make() {
        ParamType p = ParamOf<Access>::make();
        p.kind = Kind::buffers;
        return p;
    }
};

template <class R, class... A>
dim call_words(AnyFunction function, const word* words) {
    const auto typed = reinterpret_cast<R (*)(A...)>(function);
    return [&]<std::size_t... i>(std::index_sequence<i...>) -> dim {
        if constexpr (std::is_void_v<R>) {
            typed(std::bit_cast<A>(words[i])...);
            return -1;
        } else {
            return typed(std::bit_cast<A>(words[i])...);
        }
    }(std::index_sequence_for<A...>{});
}

template <class... A>
inline constexpr ParamType param_types[] = {ParamOf<A>::make()...};

template <class R, class... A>
Entry make_entry(R (*function)(A...)) {
    static_assert(((sizeof(A) == sizeof(word) && std::is_trivially_copyable_v<A>) && ...));
    return {reinterpret_cast<AnyFunction>(function), &call_words<R, A...>, param_types<A...>, sizeof...(A)};
}

// All kernels of the ISA level in use, in the order of kernels.def. Filled once at import.
std::vector<Kernel>& kernels();
// Adds a row without instances; a PAIR row is one kernel for each type U, called pair_name(name, U).
void add_kernel(const char* family, const char* name, const char* signature, const char* contract, const char* error,
                bool each);
void add_pairs(const char* family, const char* name, const char* signature, const char* contract);
std::string pair_name(const char* name, DType to);
void add_instance(const char* name, DType type, const Entry& entry);
void add_pair_instance(const char* name, DType from, DType to, const Entry& entry);
// Names the parameters, parses the contracts and marks the generic ones; called when all rows are in.
void finish_kernels();

// The casts of a narrow type to what it is computed as, and back.
struct Casts {
    DType computed;
    const Kernel *widening, *narrowing;
    const Instance *widen, *narrow;
};
const Casts& casts_of(DType narrow);
// Runs a cast: n elements.
void convert(const Instance& cast, const void* from, void* to, dim n);

}  // namespace pydl

// Kernels whose elements stand each for itself, on narrow types: the kernel of the computed type gets block after block,
// converted on the way in and out while it lies in L1. Rows ..._EACH of kernels.def.
//   (buffers, numbers, dim n)                              all buffers hold n elements
//   (In a, In b, ..., Out y, Dims shape, Dims stride_a...)  y has `shape`, each operand is read through its strides
#pragma once
#include "program/kernel.h"

namespace pydl {

constexpr std::size_t kMaxBlockParams = 12;

struct BlockParam {
    Kind kind;
    bool reads = false, writes = false, narrow = false;
    DType dtype = DType::float32;
    std::size_t bytes = 0;  // of an element
};

template <class A>
struct BlockParamOf {  // a size, a number or a list of sizes
    using wide = A;
    static constexpr BlockParam make() {
        return {std::is_same_v<A, dim> ? Kind::size : std::is_same_v<A, Dims> ? Kind::sizes : Kind::scalar};
    }
};
template <class T>
struct BlockParamOf<In<T>> {
    using wide = In<compute<T>>;
    static constexpr BlockParam make() { return {Kind::buffer, true, false, is_narrow<T>, dtype_of<T>(), sizeof(T)}; }
};
template <class T>
struct BlockParamOf<Out<T>> {
    using wide = Out<compute<T>>;
    static constexpr BlockParam make() { return {Kind::buffer, false, true, is_narrow<T>, dtype_of<T>(), sizeof(T)}; }
};

// `kernel`: of the computed type, called through `thunk`; `words`: the arguments of the narrow one.
void run_by_blocks(const BlockParam* params, std::size_t count, Thunk thunk, AnyFunction kernel, const word* words);

template <class... A>
dim call_by_blocks(AnyFunction kernel, const word* words) {
    static_assert(sizeof...(A) <= kMaxBlockParams);
    static constexpr BlockParam params[] = {BlockParamOf<A>::make()...};
    run_by_blocks(params, sizeof...(A), &call_words<void, typename BlockParamOf<A>::wide...>, kernel, words);
    return -1;
}

// The first argument only tells the signature, in the narrow type.
template <class... A>
Entry make_blocks_entry(void (*)(A...), void (*kernel)(typename BlockParamOf<A>::wide...)) {
    return {reinterpret_cast<AnyFunction>(kernel), &call_by_blocks<A...>, param_types<A...>, sizeof...(A)};
}

}  // namespace pydl

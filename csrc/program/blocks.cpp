#include "program/blocks.h"

#include <algorithm>
#include <cstring>

#include "base/parallel.h"

namespace pydl {

namespace {

// Elements of a block: the copies of four operands of floats fill 8 KB of L1.
constexpr dim kBlock = 512;
constexpr dim kGrain = 32 * kBlock;
constexpr std::size_t kMaxBytes = 8, kMaxCopies = kMaxBlockParams / 2;

word advanced(word address, dim elements, std::size_t bytes) { return address + static_cast<word>(elements) * bytes; }

struct BlockedCall {
    const BlockParam* params;
    std::size_t count;
    Thunk thunk;
    AnyFunction kernel;
    const word* words;

    Dims list(std::size_t p) const { return std::bit_cast<Dims>(words[p]); }

    // n elements as the kernel takes them.
    void take(const BlockParam& p, word from, char* to, dim n) const {
        if (p.narrow) convert(*casts_of(p.dtype).widen, reinterpret_cast<const void*>(from), to, n);
        else std::memcpy(to, reinterpret_cast<const void*>(from), static_cast<std::size_t>(n) * p.bytes);
    }

    // The elements first .. first + n of an operand read through strides.
    void take_broadcast(const BlockParam& p, word from, char* to, Dims shape, Dims strides, dim first, dim n) const {
        const dim last = shape.size() - 1, inner = shape[last];
        const std::size_t bytes = p.narrow ? dtype_bytes(casts_of(p.dtype).computed) : p.bytes;
        dim row = first / inner, column = first % inner;
        while (n > 0) {
            dim offset = 0, rest = row;
            for (dim d = last - 1; d >= 0; --d) {
                offset += rest % shape[d] * strides[d];
                rest /= shape[d];
            }
            const dim run = std::min(n, inner - column);
            if (strides[last] != 0) {
                take(p, advanced(from, offset + column * strides[last], p.bytes), to, run);
            } else {
                take(p, advanced(from, offset, p.bytes), to, 1);
                for (dim i = 1; i < run; ++i) std::memcpy(to + static_cast<std::size_t>(i) * bytes, to, bytes);
            }
            to += static_cast<std::size_t>(run) * bytes;
            n -= run;
            column = 0;
            ++row;
        }
    }

    void block(dim first, dim n, bool broadcasts) const {
        alignas(64) char copies[kMaxCopies][static_cast<std::size_t>(kBlock) * kMaxBytes];
        word inner[kMaxBlockParams];
        const dim shape[] = {1, n}, steps[] = {1, 1};
        std::size_t used = 0, shape_at = 0, lists = 0;
        while (broadcasts && params[shape_at].kind != Kind::sizes) ++shape_at;
        for (std::size_t p = 0; p < count; ++p) {
            const BlockParam& param = params[p];
            switch (param.kind) {
                case Kind::buffer:
                    if (param.reads && broadcasts) {
                        take_broadcast(param, words[p], copies[used], list(shape_at), list(shape_at + 1 + p), first, n);
                        inner[p] = reinterpret_cast<word>(copies[used++]);
                    } else if (param.narrow) {
                        if (param.reads) take(param, advanced(words[p], first, param.bytes), copies[used], n);
                        inner[p] = reinterpret_cast<word>(copies[used++]);
                    } else {
                        inner[p] = advanced(words[p], first, param.bytes);
                    }
                    break;
                case Kind::sizes: inner[p] = reinterpret_cast<word>(lists++ == 0 ? shape : steps); break;
                case Kind::size: inner[p] = static_cast<word>(n); break;
                default: inner[p] = words[p];
            }
        }
        thunk(kernel, inner);
        for (std::size_t p = 0; p < count; ++p)
            if (params[p].writes && params[p].narrow)
                convert(*casts_of(params[p].dtype).narrow, reinterpret_cast<const void*>(inner[p]),
                        reinterpret_cast<void*>(advanced(words[p], first, params[p].bytes)), n);
    }
};

}  // namespace

void run_by_blocks(const BlockParam* params, std::size_t count, Thunk thunk, AnyFunction kernel, const word* words) {
    const BlockedCall call{params, count, thunk, kernel, words};
    const bool broadcasts = params[count - 1].kind == Kind::sizes;
    dim n = 1;
    if (broadcasts) {
        std::size_t at = 0;
        while (params[at].kind != Kind::sizes) ++at;
        for (dim d = 0; d < call.list(at).size(); ++d) n *= call.list(at)[d];
    } else {
        n = static_cast<dim>(words[count - 1]);
    }
    parallel_for(n, kGrain, [&](dim begin, dim end) {
        for (dim i = begin; i < end; i += kBlock) call.block(i, std::min(kBlock, end - i), broadcasts);
    });
}

}  // namespace pydl

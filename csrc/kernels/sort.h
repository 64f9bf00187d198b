// Stable sorting by key: argsort, top_k, and binary search. Part of family index.
// NaN comes last, ascending or descending; -0 equals 0.
#pragma once
#include "base/memory.h"
#include "kernels/strided.h"

namespace pydl::PYDL_ISA {
namespace {

// The key type of T: unsigned integers that sort as T does.
template <class T>
struct key_of {
    using type = uint_of<T>;
};
template <>
struct key_of<std::uint8_t> {
    using type = std::uint32_t;
};

template <class T>
PYDL_INLINE typename key_of<T>::type sort_key(T x, bool descending) {
    using K = typename key_of<T>::type;
    constexpr K top = K(1) << (sizeof(K) * 8 - 1);
    K key;
    if constexpr (is_floating<T>) {
        if (x != x) return ~K(0);
        key = __builtin_bit_cast(K, x + T(0));  // -0 becomes 0
        key = key & top ? ~key : key | top;
    } else if constexpr (sizeof(T) == 1) {
        key = x;
    } else {
        key = static_cast<K>(x) ^ top;
    }
    return descending ? static_cast<K>(~key) : key;
}

// f(i) for i < n, asked to stop every 8192 (each may touch a page of scratch for the first time, 1 us); false when it
// has been.
template <class F>
PYDL_INLINE bool each_until_interrupted(dim n, F f) {
    constexpr dim some = 8192;
    for (dim begin = 0; begin < n; begin += some) {
        if (begin && interrupted()) return false;
        for (dim i = begin; i < smaller(n, begin + some); ++i) f(i);
    }
    return true;
}

// Sorts keys and their indices, least significant byte first; the spare arrays hold every second pass. Returns
// whether the result lies in the spare arrays. A byte that all keys share costs no pass. After an interruption the
// indices are still a permutation.
template <class K>
PYDL_INLINE bool radix_sort(K* keys, std::int32_t* index, K* spare_keys, std::int32_t* spare_index, dim n) {
    constexpr int passes = sizeof(K);
    std::int32_t counts[passes][256];
    __builtin_memset(counts, 0, sizeof(counts));
    const bool counted = each_until_interrupted(n, [&](dim i) __attribute__((always_inline)) {
        PYDL_UNROLL for (int p = 0; p < passes; ++p)++ counts[p][keys[i] >> (8 * p) & 255];
    });
    if (!counted) return false;
    bool in_spare = false;
    for (int p = 0; p < passes; ++p) {
        const int shift = 8 * p;
        if (counts[p][keys[0] >> shift & 255] == n) continue;
        std::int32_t at = 0;
        for (int b = 0; b < 256; ++b) {
            const std::int32_t count = counts[p][b];
            counts[p][b] = at;
            at += count;
        }
        const bool moved = each_until_interrupted(n, [&](dim i) __attribute__((always_inline)) {
            const std::int32_t to = counts[p][keys[i] >> shift & 255]++;
            spare_keys[to] = keys[i];
            spare_index[to] = index[i];
        });
        if (!moved) break;
        K* const k = keys;
        keys = spare_keys;
        spare_keys = k;
        std::int32_t* const j = index;
        index = spare_index;
        spare_index = j;
        in_spare = !in_spare;
    }
    return in_spare;
}

template <class K>
PYDL_INLINE void insertion_sort(K* keys, std::int32_t* index, dim n) {
    for (dim i = 1; i < n; ++i) {
        const K key = keys[i];
        const std::int32_t moved = index[i];
        dim j = i;
        for (; j > 0 && keys[j - 1] > key; --j) {
            keys[j] = keys[j - 1];
            index[j] = index[j - 1];
        }
        keys[j] = key;
        index[j] = moved;
    }
}

// index (n): the order of x (n). False after an interruption, when it may hold anything.
template <class T>
PYDL_INLINE bool argsort_row(const T* x, std::int32_t* index, dim n, bool descending) {
    using K = typename key_of<T>::type;
    constexpr dim few = 48;  // below, insertion beats the 256 counters per byte
    K* keys = scratch<K>(Slot::sort_keys, n);
    const bool filled = each_until_interrupted(n, [=](dim i) __attribute__((always_inline)) {
        keys[i] = sort_key(x[i], descending);
        index[i] = static_cast<std::int32_t>(i);
    });
    if (!filled) return false;
    if (n <= few) {
        insertion_sort(keys, index, n);
        return true;
    }
    K* spare_keys = scratch<K>(Slot::spare_keys, n);
    auto* spare_index = scratch<std::int32_t>(Slot::spare_order, n);
    if (radix_sort(keys, index, spare_keys, spare_index, n)) copy_run(index, spare_index, n);
    return true;
}

// x (rows, n) -> index (rows, n), stable.
template <class T>
void argsort(In<T> x, Out<std::int32_t> index, dim rows, dim n, dim descending) {
    parallel_for(rows, larger(1, kMoveGrain / 16 / larger(1, n)), [=](dim begin, dim end) {
        for (dim r = begin; r < end; ++r) argsort_row(x.ptr + r * n, index.ptr + r * n, n, descending != 0);
    });
}

// x (rows, n) -> values, index (rows, k): the k largest in falling order, equal ones by rising position.
template <class T>
void top_k(In<T> x, Out<T> values, Out<std::int32_t> index, dim rows, dim n, dim k) {
    using K = typename key_of<T>::type;
    constexpr dim few = 32;  // so many are kept in order by insertion while x is read once
    if (k == 0) return;
    parallel_for(rows, larger(1, kMoveGrain / 8 / larger(1, n)), [=](dim begin, dim end) {
        for (dim r = begin; r < end; ++r) {
            const T* row = x.ptr + r * n;
            std::int32_t* out = index.ptr + r * k;
            if (k > few) {
                auto* order = scratch<std::int32_t>(Slot::whole_order, n);
                if (!argsort_row(row, order, n, true)) return;
                copy_run(out, order, k);
            } else {
                K keys[few];
                dim kept = 0;
                for (dim i = 0; i < n; ++i) {
                    // Most registers hold nothing above the smallest value kept.
                    while (kept == k && i + lanes<T> <= n && !any(~(load(row + i) <= splat(row[out[k - 1]]))))
                        i += lanes<T>;
                    if (i == n) break;
                    const K key = sort_key(row[i], true);
                    if (kept == k && key >= keys[k - 1]) continue;
                    dim j = kept < k ? kept++ : k - 1;
                    for (; j > 0 && keys[j - 1] > key; --j) {
                        keys[j] = keys[j - 1];
                        out[j] = out[j - 1];
                    }
                    keys[j] = key;
                    out[j] = static_cast<std::int32_t>(i);
                }
            }
            for (dim i = 0; i < k; ++i) values[r * k + i] = row[out[i]];
        }
    });
}

// predictions (rows, n), targets (rows) -> y (rows): whether fewer than k of a row exceed the target's prediction,
// and that is finite. A target outside 0..n-1 is never in the top k.
template <class T>
void in_top_k(In<T> predictions, In<std::int32_t> targets, Out<std::uint8_t> y, dim rows, dim n, dim k) {
    parallel_for(rows, larger(1, kMoveGrain / larger(1, n)), [=](dim begin, dim end) {
        for (dim r = begin; r < end; ++r) {
            const T* row = predictions.ptr + r * n;
            const dim target = targets[r];
            bool found = target >= 0 && target < n;
            if (found) {
                const T own = row[target];
                std::int32_t above = 0;
                for (dim i = 0; i < n; ++i) above += row[i] > own;
                found = above < k && own - own == T(0);
            }
            y[r] = found;
        }
    });
}

// Whether a sorts before b; NaN after everything.
template <class T>
PYDL_INLINE bool sorts_before(T a, T b) {
    if constexpr (is_floating<T>) return a < b || (b != b && a == a);
    return a < b;
}

// sorted (n), rising; x (m) -> y (m): how many of `sorted` stand before x[i] (right == 0), or before or equal.
template <class T>
void searchsorted(In<T> sorted, In<T> x, Out<std::int32_t> y, dim n, dim m, dim right) {
    parallel_for(m, kMoveGrain / 16, [=](dim begin, dim end) {
        for (dim i = begin; i < end; ++i) {
            dim low = 0, left = n;
            while (left > 0) {
                const dim half = left / 2;
                const T middle = sorted[low + half];
                const bool above = right ? !sorts_before(x[i], middle) : sorts_before(middle, x[i]);
                low = above ? low + half + 1 : low;
                left = above ? left - half - 1 : half;
            }
            y[i] = static_cast<std::int32_t>(low);
        }
    });
}

}  // namespace
}  // namespace pydl::PYDL_ISA

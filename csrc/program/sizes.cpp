#include "program/sizes.h"

namespace pydl {

dim Sizes::operator[](dim i) const {
    if (i >= count)
        throw SizeError("expected a list of at least " + std::to_string(i + 1) + " numbers; received " +
                        std::to_string(count));
    return begin[i];
}

dim times(dim a, dim b) {
    dim result;
    if (__builtin_mul_overflow(a, b, &result))
        throw SizeError("a size exceeds 64 bits: " + std::to_string(a) + " times " + std::to_string(b));
    return result;
}

dim plus(dim a, dim b) {
    dim result;
    if (__builtin_add_overflow(a, b, &result))
        throw SizeError("a size exceeds 64 bits: " + std::to_string(a) + " plus " + std::to_string(b));
    return result;
}

void Product::add(dim factor) {
    if (factor == 0) empty_ = true;
    else others_ = times(others_, factor);
}

dim Product::value() const {
    if (!empty_) return others_;  // an array of as many elements is asked for
    if (others_ > kMostElements)
        throw SizeError("sizes beside a size of 0 multiply to " + std::to_string(others_) +
                        ", more than an array holds");
    return 0;
}

namespace {

void want(bool holds, const char* sentence) {
    if (!holds) throw SizeError(sentence);
}
void want_length(const Sizes& list, dim n) {
    if (list.count != n)
        throw SizeError("expected a list of " + std::to_string(n) + " numbers; received " + std::to_string(list.count));
}

dim product_of(std::initializer_list<dim> factors) {
    Product product;
    for (const dim factor : factors) product.add(factor);
    return product.value();
}

dim product(const Sizes* a) {
    Product product;
    for (dim i = 0; i < a->count; ++i) product.add(a->begin[i]);
    return product.value();
}
dim sum(const Sizes* a) {
    dim result = 0;
    for (dim i = 0; i < a->count; ++i) result = plus(result, a->begin[i]);
    return result;
}
dim count(const Sizes* a) { return a->count; }

// n rounded up: masks are stored by whole registers (bytes: up to 64).
dim whole(const Sizes* a) { return plus(a[0][0], 63) / 64 * 64; }

// Partial sums of kernels/multi_tensor.h (update_grain).
dim blocks(const Sizes* a) {
    dim result = 0;
    for (dim i = 0; i < a->count; ++i) result = plus(result, plus(a->begin[i], 16383) / 16384);
    return result;
}

// `matrices` (rows, columns), `stride` apart.
dim batched(const Sizes* a) {
    const dim matrices = a[0][0], size = product_of({a[1][0], a[2][0]});
    return matrices == 0 || size == 0 ? 0 : plus(times(matrices - 1, a[3][0]), size);
}

// Elements up to the furthest that the strides reach from `offset`; none in front of the array.
dim reach(const Sizes& shape, const Sizes& strides, dim offset, dim most_axes) {
    want_length(strides, shape.count);
    want(shape.count <= most_axes, "the shape has too many axes");
    if (product(&shape) == 0) return 0;
    dim low = offset, high = offset;
    for (dim i = 0; i < shape.count; ++i) {
        const dim step = times(shape[i] - 1, strides[i]);
        (step < 0 ? low : high) = plus(step < 0 ? low : high, step);
    }
    if (low < 0) throw SizeError("strides and offset reach " + std::to_string(low) + ", in front of the array");
    return plus(high, 1);
}
dim strided(const Sizes* a) { return reach(a[0], a[1], a[2][0], 64); }  // kernels/strided.h: kMaxRank
dim broadcast(const Sizes* a) {
    want(a[0].count > 0, "expected a shape of at least one axis");
    return reach(a[0], a[1], 0, 16);  // kernels/map.h: max_rank
}

// The channels, which `groups` divides.
dim grouped(const Sizes* a) {
    const dim channels = a[0][0], groups = a[1][0];
    want(groups > 0 && channels % groups == 0, "expected groups that divide the channels");
    return channels;
}

// The result of padding (x_shape, before, y_shape, mode): kernels/shape.h.
dim padded(const Sizes* a) {
    const Sizes &x = a[0], &before = a[1], &y = a[2];
    want(x.count > 0, "expected shapes of at least one axis");
    want_length(before, x.count);
    want_length(y, x.count);
    want(a[3][0] < 4, "expected a mode of padding below 4");
    for (dim i = 0; i < x.count; ++i) {
        want(plus(x[i], before[i]) <= y[i], "padding gives a smaller shape");
        want(x[i] > 0 || a[3][0] == 0, "an axis of size 0 has nothing to pad with");
    }
    return product(&y);
}

// ---- windows: inputs, outputs, sizes, strides, dilation, padding in front, three of each (pydl/ops/_window.py)

constexpr int kInputs = 0, kOutputs = 3, kTaps = 6, kStrides = 9, kDilation = 12, kBefore = 15;

dim three(const Sizes& list, dim at) { return product_of({list[at], list[at + 1], list[at + 2]}); }

// What an axis reaches, padding included; kernels add these up.
dim span_of(const Sizes& w, dim axis) {
    return plus(plus(times(w[kOutputs + axis], w[kStrides + axis]), times(w[kTaps + axis], w[kDilation + axis])),
                plus(w[kInputs + axis], w[kBefore + axis]));
}

Sizes checked_window(const Sizes& list, bool adaptive) {
    want_length(list, 18);
    for (dim i = 0; i < 3; ++i) {
        if (adaptive && list[kStrides + i] == 0) {  // windows share the input out: taps and dilation mean nothing
            times(plus(list[kOutputs + i], 1), list[kInputs + i]);
            continue;
        }
        want(list[kTaps + i] > 0 && list[kDilation + i] > 0 && list[kStrides + i] > 0,
             "expected taps, strides and dilation of at least 1");
        span_of(list, i);
    }
    return list;
}
template <int first>
dim window(const Sizes* a) {
    return three(checked_window(a[0], false), first);
}

// Each window of a pool touches the input: its first place is looked up before it is clipped.
template <int first>
dim pool(const Sizes* a) {
    const Sizes w = checked_window(a[0], true);
    for (dim i = 0; i < 3; ++i) {
        if (w[kStrides + i] == 0 || w[kOutputs + i] == 0) continue;
        want(w[kBefore + i] < w[kTaps + i] &&
                 times(w[kOutputs + i] - 1, w[kStrides + i]) - w[kBefore + i] < w[kInputs + i],
             "a window lies outside of the input");
    }
    return three(w, first);
}

// batch, groups, channels, filters, and a window.
enum class Conv { x, w, y };
template <Conv which>
dim conv(const Sizes* a) {
    const Sizes& g = a[0];
    want_length(g, 22);
    const Sizes w = checked_window({g.begin + 4, 18}, false);
    const dim batch = g[0], groups = g[1], channels = g[2], filters = g[3];
    want(groups > 0 && channels % groups == 0 && filters % groups == 0,
         "expected groups that divide channels and filters");
    // Kernels copy images with their padding.
    const dim padded = times(times(span_of(w, 0), span_of(w, 1)), times(span_of(w, 2), plus(channels, filters)));
    want(padded <= kMostElements, "padding and dilation make an image of more elements than an array has");
    const auto pixels = [&](int at, dim one, dim other) {
        return product_of({one, other, w[at], w[at + 1], w[at + 2]});
    };
    if (which == Conv::x) return pixels(kInputs, batch, channels);
    if (which == Conv::y) return pixels(kOutputs, batch, filters);
    return pixels(kTaps, channels / groups, filters);
}

// ---- attention: batch, heads, groups, queries, keys, width, depth (kernels/attention.h)

enum class Head { q, k, v, p, y };
template <Head which>
dim heads(const Sizes* a) {
    const Sizes& s = a[0];
    want_length(s, 7);
    want(s[2] > 0 && s[1] % s[2] == 0, "expected groups that divide the heads");
    if (which == Head::q) return product_of({s[0], s[3], s[1], s[5]});
    if (which == Head::k) return product_of({s[0], s[4], s[2], s[5]});
    if (which == Head::v) return product_of({s[0], s[4], s[2], s[6]});
    if (which == Head::p) return product_of({s[0], s[1], s[3], s[4]});
    return product_of({s[0], s[3], s[1], s[6]});
}
// Rows of keys, seen as (batch, heads, queries) by strides.
dim head_rows(const Sizes* a) {
    const Sizes& s = a[0];
    want_length(s, 7);
    const dim shape[] = {s[0], s[1], s[3], s[4]};
    want_length(a[1], 3);
    const dim strides[] = {a[1][0], a[1][1], a[1][2], 1};
    return reach({shape, 4}, {strides, 4}, 0, 4);
}
// The same by the last two of batch, queries, keys, width, depth, mask_batch, mask_query.
dim additive_rows(const Sizes* a) {
    const Sizes& s = a[0];
    want_length(s, 7);
    const dim strides[] = {s[5], s[6], 1};
    return reach({s.begin, 3}, {strides, 3}, 0, 3);
}

// (2, 3 units) with `after`, where the recurrent product has a bias of its own, else (3 units).
dim gru_bias(const Sizes* a) { return times(a[1][0] ? 6 : 3, a[0][0]); }

constexpr NamedSize table[] = {
    {"product", 1, product},
    {"sum", 1, sum},
    {"count", 1, count},
    {"whole", 1, whole},
    {"blocks", 1, blocks},
    {"batched", 4, batched},
    {"strided", 3, strided},
    {"broadcast", 2, broadcast},
    {"grouped", 2, grouped},
    {"padded", 4, padded},
    {"window.inputs", 1, window<kInputs>},
    {"window.outputs", 1, window<kOutputs>},
    {"window.taps", 1, window<kTaps>},
    {"pool.inputs", 1, pool<kInputs>},
    {"pool.outputs", 1, pool<kOutputs>},
    {"conv.x", 1, conv<Conv::x>},
    {"conv.w", 1, conv<Conv::w>},
    {"conv.y", 1, conv<Conv::y>},
    {"heads.q", 1, heads<Head::q>},
    {"heads.k", 1, heads<Head::k>},
    {"heads.v", 1, heads<Head::v>},
    {"heads.p", 1, heads<Head::p>},
    {"heads.y", 1, heads<Head::y>},
    {"heads.rows", 2, head_rows},
    {"gru.bias", 2, gru_bias},
    {"additive.rows", 1, additive_rows},
};

}  // namespace

const NamedSize* find_size(const std::string& name) {
    for (const NamedSize& one : table)
        if (name == one.name) return &one;
    return nullptr;
}

}  // namespace pydl

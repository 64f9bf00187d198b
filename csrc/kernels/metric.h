// Family metric: accumulators of metrics. They run once per batch inside recorded training, so each is one kernel.
#pragma once
#include "base/types.h"

namespace pydl::PYDL_ISA {
namespace {

// sum of f(0) ... f(n - 1) on 16 fixed lanes: the same bits at every ISA level
template <class F>
PYDL_INLINE double lane_sum(dim n, F f) {
    constexpr dim lanes = 16;
    double sum[lanes] = {};
    dim i = 0;
    for (; i + lanes <= n; i += lanes)
        for (dim k = 0; k < lanes; ++k) sum[k] += static_cast<double>(f(i + k));
    for (dim k = 0; i + k < n; ++k) sum[k] += static_cast<double>(f(i + k));
    for (dim half = lanes / 2; half > 0; half /= 2)
        for (dim k = 0; k < half; ++k) sum[k] += sum[k + half];
    return sum[0];
}

// values (rows, cols), weight (rows) or null for ones; total, count (1), double: a float stops counting at 2^24.
// total += sum_r weight[r] mean_c values[r, c] / per_sample, count += sum_r weight[r] / per_sample
template <class T>
void accumulate_mean(In<T> values, OptIn<T> weight, InOut<double> total, InOut<double> count, dim rows, dim cols,
                     dim per_sample) {
    const T* v = values;
    const T* w = weight;
    double sum, weights;
    if (w == nullptr) {
        sum = lane_sum(rows * cols, [=](dim i) { return v[i]; });
        weights = static_cast<double>(rows);
    } else {
        weights = lane_sum(rows, [=](dim r) { return w[r]; });
        if (cols == 1) {
            sum = lane_sum(rows, [=](dim r) { return v[r] * w[r]; });
        } else {
            sum = 0;
            for (dim r = 0; r < rows; ++r)
                sum += static_cast<double>(w[r]) * lane_sum(cols, [=](dim c) { return v[r * cols + c]; });
        }
    }
    const double share = static_cast<double>(per_sample);
    total[0] += cols == 0 ? sum : sum / (static_cast<double>(cols) * share);
    count[0] += weights / share;
}

// y_true, y_pred, weight (n, labels), weight may be null for ones; thresholds (count), ascending;
// counts (4, count, labels): weights of true positives, false positives, true negatives, false negatives, where
// y_true != 0 is positive and y_pred > threshold predicts it.
// One pass: an entry above the first `b` thresholds goes to bin b; running sums over the bins then give all counts,
// so 200 thresholds cost 8 comparisons per entry and no count can become negative by rounding.
template <class T>
void confusion_counts(In<T> y_true, In<T> y_pred, OptIn<T> weight, In<T> thresholds, Out<T> counts, dim n, dim labels,
                      dim count) {
    T* tp = counts;
    T* fp = tp + count * labels;
    T* tn = fp + count * labels;
    T* fn = tn + count * labels;
    for (dim i = 0; i < 4 * count * labels; ++i) tp[i] = 0;
    const T* level = thresholds;
    for (dim i = 0; i < n; ++i) {
        for (dim l = 0; l < labels; ++l) {
            const T p = y_pred[i * labels + l];
            const T w = weight.ptr ? weight[i * labels + l] : T(1);
            const bool positive = y_true[i * labels + l] != T(0);
            dim below = 0, size = count;  // thresholds before `below` are < p; NaN exceeds none
            while (size > 0) {
                const dim half = size / 2;
                const bool above = level[below + half] < p;
                below = above ? below + half + 1 : below;
                size = above ? size - half - 1 : half;
            }
            if (below > 0) (positive ? tp : fp)[(below - 1) * labels + l] += w;
            if (below < count) (positive ? fn : tn)[below * labels + l] += w;
        }
    }
    for (dim t = count - 2; t >= 0; --t)
        for (dim l = 0; l < labels; ++l) {
            tp[t * labels + l] += tp[(t + 1) * labels + l];
            fp[t * labels + l] += fp[(t + 1) * labels + l];
        }
    for (dim t = 1; t < count; ++t)
        for (dim l = 0; l < labels; ++l) {
            tn[t * labels + l] += tn[(t - 1) * labels + l];
            fn[t * labels + l] += fn[(t - 1) * labels + l];
        }
}

}  // namespace
}  // namespace pydl::PYDL_ISA

// Family conv: convolution of images (batch, depth, height, width, channels) and its gradients, in the ways that the
// files included below describe.
#pragma once
#include "kernels/conv_direct.h"
#include "kernels/conv_planar.h"
#include "kernels/conv_scatter.h"
#include "kernels/winograd.h"

namespace pydl::PYDL_ISA {
namespace {

// Multiplications of registers that each way takes, per image; the fewest win.
template <class T>
PYDL_INLINE real registers_of(dim n) {
    return static_cast<real>(ceil_div(n, lanes<T>));
}

// y(batch, outputs, filters) = activation(sum over taps, channels of x(batch, inputs, channels) w(taps, channels /
// groups, filters) + bias(filters)); bias may be null. `geometry`: see Geometry.
template <class T>
void conv(In<T> x, In<T> w, OptIn<T> bias, Out<T> y, Dims geometry, dim activation) {
    const Geometry g(geometry);
    Result<T> out = result_of<T>(y, g.filters, bias, false, activation);
    if (g.batch * g.outputs() == 0) return;
    if (g.pointwise()) {
        out.tail = tail_of_product<T>(g.batch * g.outputs(), g.filters, g.channels);
        return multiply<T>({g.batch * g.outputs(), g.filters, g.channels, false, false}, x, w, out);
    }
    if (const auto flat = Flat3x3::forward(g); Flat3x3::fits(g) && winograd_pays<T>(flat))
        return winograd_conv<T>(flat, x, w, false, out);
    const Slide s[3] = {forward_slide(g.axis[0]), forward_slide(g.axis[1]), forward_slide(g.axis[2])};
    const dim sizes[3] = {g.axis[0].outputs, g.axis[1].outputs, g.axis[2].outputs};
    const Weights<T> in_place{w, g.filters / g.groups, Blocking<T>::width, g.filters};
    if (g.groups == 1 && g.axis[2].stride == 1 && few(g.filters, lanes<T>))
        return planar_product<T>(x, in_place, s, g.batch, g.channels, g.filters, sizes, out);
    const bool pack = g.taps() * g.channels / g.groups * g.filters * sizeof(T) > (dim{256} << 10);
    out.tail = take_tail(g.filters);
    slide_product<T>(x, pack ? packed<T>(w, s, g, false) : in_place, s, g.batch, g.groups, g.channels, g.filters, sizes,
                     out);
}

// dx(batch, inputs, channels): the gradient of conv for dz(batch, outputs, filters), the gradient of its sums. With
// bias(channels) and activation it is the transposed convolution.
template <class T>
void conv_dx(In<T> dz, In<T> w, OptIn<T> bias, Out<T> dx, Dims geometry, dim activation) {
    const Geometry g(geometry);
    const Result<T> out = result_of<T>(dx, g.channels, bias, false, activation);
    if (g.batch * g.inputs() == 0) return;
    if (g.pointwise()) return multiply<T>({g.batch * g.inputs(), g.channels, g.filters, false, true}, dz, w, out);
    if (const auto flat = Flat3x3::gradient(g); Flat3x3::fits(g) && winograd_pays<T>(flat))
        return winograd_conv<T>(flat, dz, w, true, out);

    const bool strided = g.axis[0].stride * g.axis[1].stride * g.axis[2].stride > 1;
    const real products = static_cast<real>(g.taps() * g.filters * (strided ? g.outputs() : g.inputs()));
    const bool planar = g.groups == 1 && few(g.channels, lanes<T>);
    // Planes: two sevenths of the lanes lie idle or in padding, on average. Scattering: reads and writes of sums are
    // worth four products.
    const real inside = planar ? 1.4 * products * g.channels / lanes<T> : products * registers_of<T>(g.channels);
    const real scattered = static_cast<real>(g.outputs() * g.axis[0].size * g.axis[1].size * (g.filters + 4)) *
                           registers_of<T>(g.axis[2].size * g.channels);
    if (can_scatter<T>(g) && scattered < 0.9 * inside) return scatter_dx<T>(dz, w, g, out);

    const dim sizes[3] = {g.axis[0].inputs, g.axis[1].inputs, g.axis[2].inputs};
    dim phases[3];  // none begins behind the input
    for (int a = 0; a < 3; ++a) phases[a] = least(g.axis[a].stride, g.axis[a].inputs);
    for (dim d = 0; d < phases[0]; ++d)
        for (dim h = 0; h < phases[1]; ++h)
            for (dim across = 0; across < phases[2]; ++across) {
                Slide s[3] = {gradient_slide(g.axis[0], d), gradient_slide(g.axis[1], h),
                              gradient_slide(g.axis[2], across)};
                if (s[0].taps * s[1].taps * s[2].taps == 0)  // zeros; a block reaches as far as its positions
                    for (Slide& one : s) one.taps = one.delta_step = 0;
                const Weights<T> weights = packed<T>(w, s, g, true);
                if (planar) planar_product<T>(dz, weights, s, g.batch, g.filters, g.channels, sizes, out);
                else slide_product<T>(dz, weights, s, g.batch, g.groups, g.filters, g.channels, sizes, out);
            }
}

template <class T>
PYDL_INLINE void conv_dw_into(const T* x, const T* dz, T* dw, Dims geometry, bool accumulate) {
    const Geometry g(geometry);
    if (g.batch * g.outputs() == 0)
        return accumulate ? void() : zero_run(dw, g.taps() * (g.channels / g.groups) * g.filters);
    if (const auto flat = Flat3x3::forward(g); Flat3x3::fits(g) && winograd_pays<T>(flat))
        return winograd_dw<T>(flat, x, dz, dw, accumulate);
    const bool planar = g.groups == 1 && g.axis[1].stride == 1 && g.axis[2].stride == 1 && few(g.filters, lanes<T>);
    (planar ? planar_dw<T> : slide_dw<T>)(x, dz, dw, g, accumulate);
}

// dw(taps, channels / groups, filters): the gradient of conv for its kernel.
template <class T>
void conv_dw(In<T> x, In<T> dz, Out<T> dw, Dims geometry) {
    conv_dw_into<T>(x, dz, dw, geometry, false);
}

// dw += the same.
template <class T>
void conv_dw_accumulate(In<T> x, In<T> dz, InOut<T> dw, Dims geometry) {
    conv_dw_into<T>(x, dz, dw, geometry, true);
}

}  // namespace
}  // namespace pydl::PYDL_ISA

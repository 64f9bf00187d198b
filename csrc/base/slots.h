// What kernels keep in scratch memory. A thread has one block for each name, so functions that call each other, or run
// inside one another's loops, use different names: no kernel reaches two functions that take the same slot
// (tests/test_scratch.py). Kernels of different families may share one.
#pragma once

namespace pydl {

// "Caller": the block belongs to the thread that calls the kernel, and all threads of a loop work on it. Of the others
// each thread has its own.
enum class Slot : unsigned char {
    // gemm.h
    left_operand,   // rows of A
    right_operand,  // panels of B
    // matmul.h, matmul_narrow.h
    product_strip,  // some rows of a product as they are computed
    widened_row,    // caller: the vector of a product with a matrix
    widened_bias,   // caller
    column_bias,    // caller: the bias of a product with a column, for each row
    // dense layers, depthwise convolution, norms
    partial_sums,  // caller: sums over parts of the rows, to be added up; of a group norm's forward pass each thread's
    // conv_direct.h
    conv_kernel,   // caller: the weights in panels
    conv_sums,     // caller: kernel gradients of parts of the batch
    conv_view,     // a block of the input with its padding
    conv_offsets,  // where the runs of a window begin
    // conv_planar.h
    planar_inputs,   // a block of the input, a plane for each channel
    planar_outputs,  // a block of the output, a plane for each filter
    planar_offsets,  // where the runs of a window begin
    planar_dots,     // a kernel gradient, a register for each number
    // conv_scatter.h
    scatter_kernel,  // caller: the weights in panels
    scatter_sums,    // an input's gradient with its padding
    // winograd.h
    winograd_data,    // caller: transformed tiles of the input
    winograd_output,  // caller: transformed tiles of the output's gradient
    winograd_kernel,  // transformed weights of some channels and filters
    winograd_tiles,   // their products
    // depthwise.h
    tap_runs,  // caller: positions that see the same taps
    // recurrent*.h
    recurrent_weights,   // caller: a cell's weights in panels
    recurrent_rows,      // the state of a chunk of the batch on its way through the steps
    span_weights,        // caller: weights of a product over the steps that a mask leaves
    step_sums,           // caller: gradients of weights of parts of the steps
    step_inputs,         // what some steps multiplied
    step_gradients,      // and what came back to them
    attending_weights,   // caller: the weights around an attention in panels
    attending_contexts,  // of the rows that take a step
    attending_query,     // exponentials of a query
    attending_scores,    // gradients of a row of scores
    // attention*.h
    scores,          // of a block of queries, or their gradients
    dropped_scores,  // the same after dropout, or before the cap
    score_factors,   // exponentials of queries and keys
    seen_keys,       // a row of the mask, a number for each key
    // norm.h, group_norm.h
    channel_scales,  // a number or three for each channel
    // sort.h
    sort_keys,    // numbers in the order of the values
    spare_keys,   // the other side of a radix pass
    spare_order,  // and of the positions
    whole_order,  // of a row of which the first k are wanted
    // random.h
    class_sums,  // probabilities of the classes, summed up
    count
};

}  // namespace pydl

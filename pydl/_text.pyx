# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False, freethreading_compatible=True
"""Loops over texts: splitting, counting and looking up tokens without a Python object per token; stable hashes.

`Words` is a hash table from ranges of bytes of UTF-8 to 0, 1, 2, ...; `Splitter` cuts texts into such ranges.
All loops ask from time to time whether Ctrl-C was pressed.
"""

import codecs
import functools
import unicodedata

import numpy as np

from cpython.exc cimport PyErr_CheckSignals
from cython cimport critical_section
from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset
from libcpp.algorithm cimport partial_sort, sort
from libcpp.vector cimport vector

cdef extern from "Python.h":
    int PyUnicode_KIND(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    const void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    long long PyLong_AsLongLongAndOverflow(object number, int* overflow) except? -1
    object PyUnicode_DecodeUTF8(const char* raw, Py_ssize_t size, const char* errors)


include "_hashing.pxi"
include "_words.pxi"
include "_splitter.pxi"


ctypedef fused number:
    int32_t
    int64_t
    float
    double


cdef bint fill(list sequences, number[:, ::1] out, bint pad_front, bint cut_front) except -1:
    cdef Py_ssize_t row, size, kept, width = out.shape[1], to, start, i
    cdef list values
    cdef int overflow
    cdef long long value
    for row, sequence in enumerate(sequences):
        if type(sequence) is not list:
            return False
        PyErr_CheckSignals()
        values = sequence
        size = len(values)
        kept = min(size, width)
        start, to = size - kept if cut_front else 0, width - kept if pad_front else 0
        for i in range(kept):
            if type(values[start + i]) is not int:
                return False
            value = PyLong_AsLongLongAndOverflow(values[start + i], &overflow)
            if overflow or (number is int32_t and value != <int32_t>value):
                return False
            out[row, to + i] = <number>value
    return True


def fill_rows(list sequences not None, out, bint pad_front, bint cut_front) -> bool:
    """Writes lists of Python's integers into the rows of an array, cut off to its width.

    Args:
        out: (number of lists, width), int32, int64, float32 or float64.
        pad_front, cut_front: whether what a short list leaves, or a long one loses, is at its front.

    Returns:
        Whether it was done: False for another dtype, other elements, or integers that do not fit.
    """
    if out.ndim != 2 or out.shape[0] != len(sequences) or not out.flags.c_contiguous:
        return False
    if out.dtype == np.int32:
        return fill[int32_t](sequences, out, pad_front, cut_front)
    if out.dtype == np.int64:
        return fill[int64_t](sequences, out, pad_front, cut_front)
    if out.dtype == np.float32:
        return fill[float](sequences, out, pad_front, cut_front)
    return out.dtype == np.float64 and fill[double](sequences, out, pad_front, cut_front)


def pad(const int64_t[::1] flat, const int64_t[::1] lengths, Py_ssize_t width):
    """Rows of different lengths, one after the other in `flat`, as an int64 array (rows, width): cut off, or filled up
    with zeros, at their ends."""
    result = np.zeros((lengths.shape[0], width), np.int64)
    cdef int64_t[:, ::1] out = result
    cdef Py_ssize_t begin = 0, row
    for row in range(lengths.shape[0]):
        PyErr_CheckSignals()
        if min(lengths[row], width) > 0:
            memcpy(&out[row, 0], &flat[begin], 8 * min(lengths[row], width))
        begin += lengths[row]
    return result

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Loops over texts: splitting, counting and looking up tokens without a Python object per token; stable hashes.

`Words` is a hash table from ranges of bytes of UTF-8 to 0, 1, 2, ...; `Splitter` cuts texts into such ranges.
"""

import codecs
import functools
import unicodedata

import numpy as np

from libc.stdint cimport INT64_MAX, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport free, realloc
from libc.string cimport memcmp, memcpy, memset
from libcpp.algorithm cimport partial_sort
from libcpp.vector cimport vector

cdef extern from "Python.h":
    int PyUnicode_KIND(object text)
    bint PyUnicode_IS_COMPACT_ASCII(object text)
    const void* PyUnicode_DATA(object text)
    Py_ssize_t PyUnicode_GET_LENGTH(object text)
    object PyUnicode_DecodeUTF8(const char* raw, Py_ssize_t size, const char* errors)


include "_hashing.pxi"
include "_words.pxi"
include "_splitter.pxi"


def pad(const int64_t[::1] flat, const int64_t[::1] lengths, Py_ssize_t width):
    """Rows of different lengths, one after the other in `flat`, as an int64 array (rows, width): cut off, or filled up
    with zeros, at their ends."""
    result = np.zeros((lengths.shape[0], width), np.int64)
    cdef int64_t[:, ::1] out = result
    cdef Py_ssize_t begin = 0, row
    for row in range(lengths.shape[0]):
        if min(lengths[row], width) > 0:
            memcpy(&out[row, 0], &flat[begin], 8 * min(lengths[row], width))
        begin += lengths[row]
    return result

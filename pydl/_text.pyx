# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Loops over texts: splitting, counting and looking up tokens without a Python object per token; stable hashes.

A text is taken as UTF-8. `Splitter` writes its tokens, with one space between them, into one buffer, so that an n-gram
is a range of that buffer too. `Words` is a hash table from ranges of bytes to 0, 1, 2, ...
"""

import codecs
import unicodedata

import numpy as np

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy
from libcpp.vector cimport vector

cdef extern from "Python.h":
    const char* PyUnicode_AsUTF8AndSize(object text, Py_ssize_t* size) except NULL

# What a byte means to a Splitter: part of a token, to be left out, or between two tokens.
KEEP, DROP, SEPARATE = 0, 1, 2


include "_hashing.pxi"


# ---- table of words ---------------------------------------------------------------------------------------------

cdef inline uint64_t table_hash(const uint8_t* p, int64_t size) noexcept nogil:
    cdef uint64_t h = 0x9e3779b97f4a7c15ULL ^ <uint64_t>size, last = 0
    while size >= 8:
        h = (h ^ load64(p)) * 0xff51afd7ed558ccdULL
        h ^= h >> 32
        p += 8
        size -= 8
    while size > 0:
        size -= 1
        last = (last << 8) | p[size]
    h = (h ^ last) * 0xc4ceb9fe1a85ec53ULL
    return h ^ (h >> 29)


cdef struct Entry:
    int64_t begin  # of its bytes in the store
    int64_t size
    int64_t count  # occurrences
    int64_t documents  # texts it occurs in
    int64_t last  # number of the last of them
    uint64_t hash


cdef struct Slot:
    uint32_t tag  # high bits of the hash, so that most strangers are told apart without looking at their bytes
    int32_t index  # of the entry, -1 for none


cdef class Words:
    """Different words in the order of their first occurrence, each with its number of occurrences and documents.

    Args:
        words: strings to begin with; a repeated one keeps its first place.
    """

    cdef vector[uint8_t] store
    cdef vector[Entry] entries
    cdef vector[Slot] slots
    cdef uint64_t mask
    cdef int64_t document

    def __init__(self, words=()):
        self.resize(64)
        cdef bytes raw
        for word in words:
            raw = word.encode("utf-8", "surrogatepass")
            self.add(raw, len(raw), 0)

    cdef void resize(self, size_t size) except *:
        cdef Slot none
        none.tag, none.index = 0, -1
        self.slots.assign(size, none)
        self.mask = size - 1
        cdef uint64_t at
        cdef size_t i
        for i in range(self.entries.size()):
            at = self.entries[i].hash & self.mask
            while self.slots[at].index >= 0:
                at = (at + 1) & self.mask
            self.slots[at].tag, self.slots[at].index = <uint32_t>(self.entries[i].hash >> 32), <int32_t>i

    cdef inline uint64_t slot_of(self, const uint8_t* p, int64_t size, uint64_t h) noexcept nogil:
        """The slot of the word, or the free one where it would go."""
        cdef uint64_t at = h & self.mask
        cdef uint32_t tag = <uint32_t>(h >> 32)
        cdef Slot slot = self.slots[at]
        while slot.index >= 0:
            if slot.tag == tag and self.entries[slot.index].size == size and \
                    memcmp(&self.store[self.entries[slot.index].begin], p, size) == 0:
                break
            at = (at + 1) & self.mask
            slot = self.slots[at]
        return at

    cdef inline int64_t find(self, const uint8_t* p, int64_t size) noexcept nogil:
        """The number of the word, -1 for an unknown one."""
        return self.slots[self.slot_of(p, size, table_hash(p, size))].index

    cdef int add(self, const uint8_t* p, int64_t size, int64_t times) except -1:
        cdef uint64_t h = table_hash(p, size), at = self.slot_of(p, size, h)
        cdef int32_t index = self.slots[at].index
        cdef Entry entry
        if index < 0:
            if self.entries.size() >= 0x7fffffff:
                raise OverflowError("More than 2147483647 different words.")
            index = <int32_t>self.entries.size()
            entry.begin, entry.size, entry.hash = self.store.size(), size, h
            entry.count = entry.documents = 0
            entry.last = -1
            self.store.resize(self.store.size() + size + (size == 0))  # an empty word has an address too
            memcpy(&self.store[entry.begin], p, size)
            self.entries.push_back(entry)
            self.slots[at].tag, self.slots[at].index = <uint32_t>(h >> 32), index
            if 2 * self.entries.size() > self.slots.size():
                self.resize(2 * self.slots.size())
        cdef Entry* found = &self.entries[index]
        found.count += times
        if found.last != self.document:
            found.last = self.document
            found.documents += 1
        return 0

    def __len__(self):
        return <Py_ssize_t>self.entries.size()

    def __reduce__(self):  # pickles and copies hold the words, not their tallies
        return Words, (self.words(),)

    def words(self) -> list:
        """The words, in the order of their numbers."""
        cdef list found = []
        cdef size_t i
        for i in range(self.entries.size()):
            raw = (<const char*>&self.store[self.entries[i].begin])[:self.entries[i].size]
            found.append(raw.decode("utf-8", "surrogatepass"))
        return found

    def tallies(self):
        """(occurrences, documents), two int64 arrays with an entry per word."""
        result = np.empty((2, self.entries.size()), np.int64)
        cdef int64_t[:, ::1] out = result
        cdef size_t i
        for i in range(self.entries.size()):
            out[0, i], out[1, i] = self.entries[i].count, self.entries[i].documents
        return result[0], result[1]

    def index(self, list words not None):
        """The number of each word (str), -1 for unknown ones; int64 array."""
        result = np.empty(len(words), np.int64)
        cdef int64_t[::1] out = result
        cdef Py_ssize_t i, size
        cdef const uint8_t* p
        for i in range(len(words)):
            word = words[i]
            if not isinstance(word, str):
                raise TypeError(f"expected strings; received {word!r} at position {i}.")
            if word.isascii():
                p = <const uint8_t*>PyUnicode_AsUTF8AndSize(word, &size)
            else:
                word = word.encode("utf-8", "surrogatepass")
                p, size = word, len(word)
            out[i] = self.find(p, size)
        return result


# ---- texts to tokens ---------------------------------------------------------------------------------------------

cdef class Splitter:
    """Cuts texts into tokens.

    Args:
        kinds: 256 bytes, KEEP, DROP or SEPARATE for each value of a byte of UTF-8, after `lower`.
        lower: whether letters become small ones, by the rules of Unicode.
        compose: whether composed and decomposed forms of a letter become the same (Unicode's NFC).
        characters: whether every code point is a token, instead of what stands between separators.
        widths: numbers of tokens that make up an n-gram, one after the other.
        encoding: of texts given as bytes; what it cannot read becomes U+FFFD.
    """

    cdef uint8_t kinds[256]
    cdef uint8_t small[256]
    cdef bint lower, compose, characters, utf8
    cdef tuple widths
    cdef str encoding
    cdef tuple arguments
    cdef vector[uint8_t] buffer
    cdef vector[int64_t] ends  # of the tokens in the buffer

    def __init__(self, bytes kinds, bint lower, bint compose, bint characters=False, widths=(1,), encoding="utf-8"):
        cdef int c
        for c in range(256):
            self.small[c] = c + 32 if lower and 65 <= c <= 90 else c
            self.kinds[c] = kinds[self.small[c]]
        self.lower, self.compose, self.characters = lower, compose, characters
        self.widths, self.encoding = tuple(widths), encoding
        self.arguments = (kinds, lower, compose, characters, self.widths, encoding)
        self.utf8 = codecs.lookup(encoding).name == "utf-8"

    def __reduce__(self):
        return Splitter, self.arguments

    cdef int split(self, text, Py_ssize_t position) except -1:
        """Fills `buffer` and `ends`."""
        cdef const uint8_t* p
        cdef Py_ssize_t size
        if isinstance(text, bytes) and not (self.utf8 and text.isascii()):
            text = text.decode(self.encoding, "replace")
        if isinstance(text, bytes):
            p, size = text, len(text)
        elif not isinstance(text, str):
            raise TypeError(f"expected texts (str or bytes); received {text!r} at position {position}.")
        elif text.isascii():
            p = <const uint8_t*>PyUnicode_AsUTF8AndSize(text, &size)
        else:
            if self.lower:
                text = text.lower()
            if self.compose:
                text = unicodedata.normalize("NFC", text)
            text = text.encode("utf-8", "surrogatepass")
            p, size = text, len(text)
        self.ends.clear()
        cdef size_t room = (2 if self.characters else 1) * size + 1
        if self.buffer.size() < room:
            self.buffer.resize(room)
        if self.characters:
            self.cut_characters(p, size)
        else:
            self.cut_words(p, size)
        return 0

    cdef int cut_words(self, const uint8_t* p, Py_ssize_t size) except -1:
        cdef uint8_t* out = self.buffer.data()
        cdef int64_t begin = 0, end = 0
        cdef Py_ssize_t i
        for i in range(size):
            if self.kinds[p[i]] == 2:
                if end > begin:
                    self.ends.push_back(end)
                    out[end] = 32
                    begin = end = end + 1
            else:
                out[end] = self.small[p[i]]
                end += self.kinds[p[i]] == 0
        if end > begin:
            self.ends.push_back(end)
        return 0

    cdef int cut_characters(self, const uint8_t* p, Py_ssize_t size) except -1:
        cdef uint8_t* out = self.buffer.data()
        cdef int64_t end = 0
        cdef Py_ssize_t i = 0
        while i < size:
            if self.kinds[p[i]]:
                i += 1
                continue
            out[end] = self.small[p[i]]
            i, end = i + 1, end + 1
            while i < size and p[i] & 0xc0 == 0x80:  # the rest of a code point
                out[end] = p[i]
                i, end = i + 1, end + 1
            self.ends.push_back(end)
            out[end] = 32
            end += 1
        return 0

    def count(self, texts, Words words not None):
        """Adds the tokens of texts, each a document, to `words`."""
        cdef int64_t begin, width, i
        cdef Py_ssize_t position
        for position, text in enumerate(texts):
            self.split(text, position)
            words.document += 1
            for width in self.widths:
                begin = 0
                for i in range(width - 1, <int64_t>self.ends.size()):
                    words.add(&self.buffer[begin], self.ends[i] - begin, 1)
                    begin = self.ends[i - width + 1] + 1

    def index(self, texts, Words words not None):
        """(numbers of the tokens of all texts, -1 for unknown ones; number of tokens per text), two int64 arrays."""
        cdef vector[int64_t] found
        cdef int64_t begin, width, i
        cdef Py_ssize_t position
        lengths = np.empty(len(texts), np.int64)
        cdef int64_t[::1] per_text = lengths
        cdef size_t before
        for position, text in enumerate(texts):
            self.split(text, position)
            before = found.size()
            for width in self.widths:
                begin = 0
                for i in range(width - 1, <int64_t>self.ends.size()):
                    found.push_back(words.find(&self.buffer[begin], self.ends[i] - begin))
                    begin = self.ends[i - width + 1] + 1
            per_text[position] = found.size() - before
        result = np.empty(found.size(), np.int64)
        cdef int64_t[::1] out = result
        if found.size():
            memcpy(&out[0], found.data(), 8 * found.size())
        return result, lengths


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

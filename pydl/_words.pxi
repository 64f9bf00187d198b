# Table of words; a part of _text.pyx.

cdef extern from *:
    void prefetch "__builtin_prefetch"(const void*) noexcept nogil
    uint64_t swapped "__builtin_bswap64"(uint64_t) noexcept nogil

cdef enum:
    SLACK = 8  # bytes that may be read (not used) behind a word


cdef inline uint64_t head_of(const uint8_t* p, int64_t size) noexcept nogil:
    """The first 8 bytes of a word, zeros behind its end."""
    return load64(p) if size >= 8 else load64(p) & ((<uint64_t>1 << (8 * size)) - 1)


cdef inline uint64_t table_hash(const uint8_t* p, int64_t size) noexcept nogil:
    cdef uint64_t h = 0x9e3779b97f4a7c15ULL * <uint64_t>(size + 1)
    while True:
        h = (h ^ head_of(p, size)) * 0xff51afd7ed558ccdULL
        h ^= h >> 32
        if size <= 8:
            break
        p += 8
        size -= 8
    h *= 0xc4ceb9fe1a85ec53ULL
    return h ^ (h >> 29)


cdef struct Entry:
    int64_t begin  # of its bytes in the store
    int64_t size
    uint64_t hash


cdef struct Tally:
    int64_t count  # occurrences
    int64_t documents  # texts it occurs in
    int64_t last  # number of the last of them


cdef struct Slot:  # of a word of up to 8 bytes it tells everything: one line of the cache
    uint64_t head
    uint32_t size
    int32_t index  # of the entry, -1 for none


cdef struct Ranked:
    int64_t count
    uint64_t order  # the head as a number that sorts like the bytes
    const uint8_t* bytes
    int64_t size
    int32_t index


cdef bint before(const Ranked& a, const Ranked& b) noexcept nogil:
    """Most frequent first, among equals the greater."""
    cdef int sign
    if a.count != b.count:
        return a.count > b.count
    if a.order != b.order:
        return a.order > b.order
    sign = memcmp(a.bytes, b.bytes, min(a.size, b.size))
    return sign > 0 or (sign == 0 and a.size > b.size)


cdef class Words:
    """Different words in the order of their first occurrence, each with its number of occurrences and documents.

    Any number of threads may look up words, and count occurrences; documents one at a time.

    Args:
        words: strings to begin with; a repeated one keeps its first place.
    """

    cdef vector[uint8_t] store
    cdef int64_t used  # of the store
    cdef vector[Entry] entries
    cdef vector[Tally] tally
    cdef vector[Slot] slots
    cdef vector[uint8_t] scratch
    cdef uint64_t mask
    cdef int64_t document

    def __init__(self, words=()):
        self.resize(64)
        cdef const uint8_t* p
        cdef Py_ssize_t size
        for word in words:
            PyErr_CheckSignals()
            p = self.bytes_of(word, &size)
            self.add(p, size, table_hash(p, size))
        for i in range(<Py_ssize_t>self.tally.size()):
            self.tally[i].count = self.tally[i].documents = 0

    cdef const uint8_t* bytes_of(self, word, Py_ssize_t* size) except NULL:
        """UTF-8 of a str, valid until the next call."""
        cdef const uint8_t* p
        cdef bytes raw
        if PyUnicode_IS_COMPACT_ASCII(word):
            p, size[0] = <const uint8_t*>PyUnicode_DATA(word), PyUnicode_GET_LENGTH(word)
        else:
            raw = word.encode("utf-8", "surrogatepass")
            p, size[0] = raw, len(raw)
        if self.scratch.size() < <size_t>size[0] + SLACK:
            self.scratch.resize(2 * size[0] + SLACK)
        memcpy(self.scratch.data(), p, size[0])
        return self.scratch.data()

    cdef void resize(self, size_t size) except *:
        cdef Slot none
        none.head, none.size, none.index = 0, 0, -1
        self.slots.assign(size, none)
        self.mask = size - 1
        cdef uint64_t at
        cdef size_t i
        for i in range(self.entries.size()):
            at = self.entries[i].hash & self.mask
            while self.slots[at].index >= 0:
                at = (at + 1) & self.mask
            self.fill(at, i)

    cdef inline void fill(self, uint64_t at, size_t index) noexcept nogil:
        cdef Entry* entry = &self.entries[index]
        self.slots[at].head = head_of(&self.store[entry.begin], entry.size)
        self.slots[at].size, self.slots[at].index = <uint32_t>entry.size, <int32_t>index

    cdef inline uint64_t slot_of(self, const uint8_t* p, int64_t size, uint64_t h) noexcept nogil:
        """The slot of the word, or the free one where it would go."""
        cdef uint64_t at = h & self.mask, head = head_of(p, size)
        cdef const Slot* slots = self.slots.data()
        cdef const Entry* entry
        while slots[at].index >= 0:
            if slots[at].head == head and slots[at].size == <uint32_t>size:
                if size <= 8:
                    break
                entry = &self.entries[slots[at].index]
                if entry.size == size and memcmp(&self.store[entry.begin + 8], p + 8, size - 8) == 0:
                    break
            at = (at + 1) & self.mask
        return at

    cdef inline int32_t find(self, const uint8_t* p, int64_t size, uint64_t h) noexcept nogil:
        """The number of the word, -1 for an unknown one."""
        return self.slots[self.slot_of(p, size, h)].index

    cdef inline int32_t add(self, const uint8_t* p, int64_t size, uint64_t h) except -1:
        """Counts a word; its number."""
        cdef uint64_t at = self.slot_of(p, size, h)
        cdef int32_t index = self.slots[at].index
        if index < 0:
            index = self.enter(p, size, h, at)
        cdef Tally* found = &self.tally[index]
        found.count += 1
        found.documents += found.last != self.document
        found.last = self.document
        return index

    cdef int32_t enter(self, const uint8_t* p, int64_t size, uint64_t h, uint64_t at) except -1:
        cdef Entry entry
        cdef Tally none
        if self.entries.size() >= 0x7fffffff:
            raise OverflowError("More than 2147483647 different words.")
        entry.begin, entry.size, entry.hash = self.used, size, h
        none.count, none.documents, none.last = 0, 0, -1
        self.used += size
        self.store.resize(self.used + SLACK)
        memcpy(&self.store[entry.begin], p, size)
        self.entries.push_back(entry)
        self.tally.push_back(none)
        self.fill(at, self.entries.size() - 1)
        if 2 * self.entries.size() > self.slots.size():
            self.resize(4 * self.slots.size() if self.slots.size() < 65536 else 2 * self.slots.size())
        return <int32_t>(self.entries.size() - 1)

    def __len__(self):
        return <Py_ssize_t>self.entries.size()

    def __reduce__(self):  # pickles and copies hold the words, not their tallies
        return Words, (self.words(),)

    @critical_section
    def words(self) -> list:
        """The words, in the order of their numbers."""
        cdef list found = []
        cdef size_t i
        for i in range(self.entries.size()):
            found.append(PyUnicode_DecodeUTF8(<const char*>&self.store[self.entries[i].begin], self.entries[i].size,
                                              "surrogatepass"))
        return found

    def tallies(self):
        """(occurrences, documents), two int64 arrays with an entry per word."""
        result = np.empty((2, self.entries.size()), np.int64)
        cdef int64_t[:, ::1] out = result
        cdef size_t i
        with critical_section(self):
            for i in range(<size_t>out.shape[1]):
                out[0, i], out[1, i] = self.tally[i].count, self.tally[i].documents
        return result[0], result[1]

    def ranked(self, limit=None, without=()) -> Words:
        """The words from the most frequent to the rarest, among equals the greater first, with their tallies.

        Args:
            limit: how many of them, None for all.
            without: words to leave out.
        """
        cdef vector[Ranked] order
        cdef Ranked item
        cdef size_t i, size
        left_out = set(self.index(list(without)).tolist()) - {-1}
        cdef Words result = Words()
        with critical_section(self):
            order.reserve(self.entries.size())
            for i in range(self.entries.size()):
                item.bytes, item.size = &self.store[self.entries[i].begin], self.entries[i].size
                item.order = swapped(head_of(item.bytes, item.size))
                item.count, item.index = self.tally[i].count, <int32_t>i
                order.push_back(item)
            for i in left_out:
                order[i].count = -1  # behind all others
            size = order.size() - len(left_out)
            if limit is not None:
                size = min(size, <size_t>max(limit, 0))
            if 8 * size < order.size():
                partial_sort(order.begin(), order.begin() + size, order.end(), &before)
            else:
                sort(order.begin(), order.end(), &before)
            result.entries.reserve(size)
            result.tally.reserve(size)
            for i in range(size):
                result.add(order[i].bytes, order[i].size, self.entries[order[i].index].hash)
                result.tally[i] = self.tally[order[i].index]
                result.tally[i].last = -1
        return result

    def index(self, list words not None):
        """The number of each word (str), -1 for unknown ones; int64 array."""
        result = np.empty(len(words), np.int64)
        cdef int64_t[::1] out = result
        cdef Py_ssize_t i, size
        cdef const uint8_t* p
        with critical_section(self):
            for i in range(len(words)):
                PyErr_CheckSignals()
                word = words[i]
                if not isinstance(word, str):
                    raise TypeError(f"expected strings; received {word!r} at position {i}.")
                p = self.bytes_of(word, &size)
                out[i] = self.find(p, size, table_hash(p, size))
        return result

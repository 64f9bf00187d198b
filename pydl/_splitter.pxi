# Texts to tokens; a part of _text.pyx.

# What a character means to a Splitter: part of a token, to be left out, or between two tokens.
KEEP, DROP, SEPARATE = 0, 1, 2

cdef enum:
    BLOCK = 64  # tokens whose slots are fetched ahead of their use
    STRETCH = 1 << 20  # characters of a text after which Ctrl-C is looked for

ctypedef fused unit:  # how Python stores the characters of a str: the smallest of these that holds all of them
    uint8_t
    uint16_t
    uint32_t

ctypedef fused real:
    float
    double


cdef struct Letter:
    uint32_t bytes  # UTF-8
    uint8_t size  # number of bytes, 0: has to be looked at together with its neighbours
    uint8_t kind


@functools.cache
def followers() -> frozenset:
    """Characters that may melt into one with the character before (beside marks, which have a combining class)."""
    pairs = (unicodedata.decomposition(chr(c)) for c in range(0x20000))
    jamo = map(chr, [*range(0x1161, 0x1176), *range(0x11a8, 0x11c3)])
    return frozenset([chr(int(p.split()[1], 16)) for p in pairs if p[:1] not in ("", "<") and " " in p] + [*jamo])


cdef class Cutter:
    """What one call of a `Splitter` works with at a time: tables and buffers.

    Tokens are written, as UTF-8 with one space between them, into one buffer, so that an n-gram is a range of it too.
    Most characters become small, and are known to be in form NFC, by a table; where one does not, the stretch between
    the white space around it goes through Python's own functions.
    """

    cdef uint8_t kinds[128]
    cdef uint8_t small[128]
    cdef uint8_t edges[128]  # white space that no rule about neighbours looks beyond, and that ends a token
    cdef bint lower, compose, characters, utf8
    cdef tuple widths
    cdef str encoding, separators, dropped
    cdef Cutter plain  # for stretches that went through Python's functions
    cdef vector[int32_t] block_of  # of 256 characters, -1 before one of them has been seen
    cdef vector[Letter] letters
    cdef uint8_t* buffer
    cdef int64_t room
    cdef vector[int64_t] ends  # of the tokens in the buffer

    def __cinit__(self):
        self.buffer, self.room = <uint8_t*>NULL, 0

    def __dealloc__(self):
        free(self.buffer)

    def __init__(self, str separators, str dropped, bint lower, bint compose, bint characters, tuple widths,
                 str encoding):
        cdef int c
        self.separators, self.dropped = separators, dropped
        self.lower, self.compose, self.characters = lower, compose, characters
        self.widths, self.encoding = widths, encoding
        self.utf8 = codecs.lookup(encoding).name == "utf-8"
        self.block_of.assign(0x1100, -1)
        for c in range(128):
            self.small[c] = c + 32 if lower and 65 <= c <= 90 else c
            self.kinds[c] = self.kind_of(chr(self.small[c]))
            self.edges[c] = chr(c) in " \t\n\v\f\r" and (characters or self.kinds[c] == 2)
        if lower or compose:
            self.plain = Cutter(separators, dropped, False, False, characters, widths, encoding)

    cdef int kind_of(self, str c):
        return SEPARATE if c in self.separators else DROP if c in self.dropped else KEEP

    cdef int learn(self, uint32_t block) except -1:
        """Fills the table for 256 characters."""
        cdef Letter letter
        cdef bytes raw
        self.block_of[block] = <int32_t>(self.letters.size() >> 8)
        for c in range(256 * block, 256 * block + 256):
            c = chr(c)
            small = c.lower() if self.lower else c
            letter.bytes = letter.size = 0
            letter.kind = self.kind_of(small)
            if not (len(small) != 1 or (self.lower and c == "Σ") or (self.compose and (
                    unicodedata.combining(c) or unicodedata.combining(small) or c in followers()
                    or small in followers() or not unicodedata.is_normalized("NFC", small)))):
                raw = small.encode("utf-8", "surrogatepass")
                letter.size = len(raw)
                memcpy(&letter.bytes, <const char*>raw, letter.size)
            self.letters.push_back(letter)
        return 0

    cdef int reserve(self, int64_t room) except -1:
        cdef void* grown
        if self.room < room:
            grown = realloc(self.buffer, room + room // 4)
            if grown == NULL:
                raise MemoryError(f"no {room} bytes for the tokens of a text.")
            self.buffer, self.room = <uint8_t*>grown, room + room // 4
        return 0

    cdef void release(self) except *:
        """Gives back what an unusually long text took."""
        if self.room > 1 << 22:
            free(self.buffer)
            self.buffer, self.room = <uint8_t*>NULL, 0
        if self.ends.capacity() > 1 << 20:
            self.ends.clear()
            self.ends.shrink_to_fit()
        if self.plain is not None:
            self.plain.release()

    cdef int split(self, text, Py_ssize_t position, int64_t most) except -1:
        """Fills `buffer` and `ends`, with the first `most` tokens at least."""
        PyErr_CheckSignals()
        if isinstance(text, bytes):
            if self.utf8 and text.isascii():
                return cut[uint8_t](self, <const uint8_t*><const char*>text, len(text), most, text)
            text = text.decode(self.encoding, "replace")
        elif not isinstance(text, str):
            raise TypeError(f"expected texts (str or bytes); received {text!r} at position {position}.")
        cdef const void* data = PyUnicode_DATA(text)
        cdef Py_ssize_t size = PyUnicode_GET_LENGTH(text)
        if PyUnicode_KIND(text) == 1:
            return cut[uint8_t](self, <const uint8_t*>data, size, most, text)
        if PyUnicode_KIND(text) == 2:
            return cut[uint16_t](self, <const uint16_t*>data, size, most, text)
        return cut[uint32_t](self, <const uint32_t*>data, size, most, text)

    cdef int64_t standardise(self, text, int64_t end) except -1:
        """Cuts a stretch through Python's functions and appends its tokens at `end`; the new end."""
        text = text.lower() if self.lower else text
        text = unicodedata.normalize("NFC", text) if self.compose else text
        self.plain.split(text, 0, INT64_MAX)
        cdef int64_t count = self.plain.ends.size(), i
        cdef int64_t size = self.plain.ends[count - 1] if count else 0
        self.reserve(end + size + SLACK)
        memcpy(self.buffer + end, self.plain.buffer, size)
        for i in range(count):
            self.ends.push_back(end + self.plain.ends[i])
        if count:
            self.buffer[end + size] = 32
        return end + size + (count > 0)

    cdef int64_t grams(self, Words words, bint add, int32_t* out, int64_t most) except -1:
        """Looks up, or counts, the first `most` n-grams of the text that was split, and writes their numbers to `out`
        (NULL: nowhere). Returns how many."""
        cdef int64_t begin, width, first, last, i, k, total = 0, count = self.ends.size()
        cdef const int64_t* ends = self.ends.data()
        cdef const uint8_t* p = self.buffer
        cdef int64_t begins[BLOCK]
        cdef uint64_t hashes[BLOCK]
        cdef int32_t number
        for width in self.widths:
            begin, first = 0, width - 1
            while first < count and total < most:
                PyErr_CheckSignals()
                last = first + min(<int64_t>BLOCK, count - first, most - total)
                with critical_section(words):
                    for i in range(first, last):
                        k = i - first
                        begins[k], hashes[k] = begin, table_hash(p + begin, ends[i] - begin)
                        prefetch(&words.slots[hashes[k] & words.mask])
                        begin = ends[i - width + 1] + 1
                    for i in range(first, last):
                        k = i - first
                        if add:
                            number = words.add(p + begins[k], ends[i] - begins[k], hashes[k])
                        else:
                            number = words.find(p + begins[k], ends[i] - begins[k], hashes[k])
                        if out != NULL:
                            out[total + k] = number
                total += last - first
                first = last
        return total

    cdef int64_t count_grams(self) except -1:
        cdef int64_t width, total = 0
        for width in self.widths:
            total += max(<int64_t>self.ends.size() - width + 1, 0)
        return total

    cdef Py_ssize_t count(self, texts, Words words) except -1:
        cdef Py_ssize_t position = -1
        for position, text in enumerate(texts):
            self.split(text, position, INT64_MAX)
            words.document += 1
            self.grams(words, True, NULL, INT64_MAX)
        self.release()
        return position + 1

    cdef rows(self, list texts, Words words, int64_t unknown, int64_t first, width):
        cdef vector[int32_t] flat
        cdef vector[int64_t] starts
        cdef int64_t most = INT64_MAX if width is None else width, total = 0, longest = 0, i, row
        cdef int64_t tokens = most if self.widths == (1,) else INT64_MAX  # no more of them are needed
        cdef Py_ssize_t position
        cdef int64_t[:, ::1] out
        if width is not None:
            result = np.zeros((len(texts), width), np.int64)
            out = result
        starts.push_back(0)
        for position, text in enumerate(texts):
            self.split(text, position, tokens)
            i = min(self.count_grams(), most)
            longest = max(longest, i)
            if width is not None:
                total = 0
            if <int64_t>flat.size() < total + i:
                flat.resize(2 * (total + i))
            self.grams(words, False, flat.data() + total, i)
            if width is not None:
                for row in range(i):
                    out[position, row] = unknown if flat[row] < 0 else first + flat[row]
            else:
                total += i
                starts.push_back(total)
        self.release()
        if width is not None:
            return result
        result = np.empty((len(texts), longest), np.int64)
        out = result
        for row in range(len(texts)):
            for i in range(starts[row], starts[row + 1]):
                out[row, i - starts[row]] = unknown if flat[i] < 0 else first + flat[i]
            if starts[row + 1] - starts[row] < longest:
                memset(&out[row, starts[row + 1] - starts[row]], 0, 8 * (longest - starts[row + 1] + starts[row]))
        return result

    cdef bags(self, list texts, Words words, int64_t unknown, int64_t first, out, bint counts,
              const double[::1] weights):
        if out.shape[0] != len(texts) or out.shape[1] < first + len(words) or unknown >= out.shape[1] or (
                weights is not None and weights.shape[0] != out.shape[1]):
            raise ValueError(f"no room for {len(texts)} texts and {first + len(words)} tokens.")
        if out.dtype == np.float32:
            write_bags[float](self, texts, words, unknown, first, out, counts, weights)
        else:
            write_bags[double](self, texts, words, unknown, first, out, counts, weights)

    cdef list lists(self, text, Words words, list numbers, unknown):
        cdef vector[int32_t] flat
        cdef list result = []
        cdef int64_t i, n
        self.split(text, 0, INT64_MAX)
        n = self.count_grams()
        flat.resize(n)
        self.grams(words, False, flat.data(), n)
        for i in range(n):
            number = unknown if flat[i] < 0 else numbers[flat[i]]
            if number is not None:
                result.append(number)
        self.release()
        return result


cdef int write_bags(Cutter s, list texts, Words words, int64_t unknown, int64_t first, real[:, ::1] out, bint counts,
                    const double[::1] weights) except -1:
    cdef vector[int32_t] flat, seen
    cdef int64_t i, n, number, times
    cdef Py_ssize_t position
    seen.assign(out.shape[1], 0)
    for position, text in enumerate(texts):
        s.split(text, position, INT64_MAX)
        n = s.count_grams()
        if <int64_t>flat.size() < n:
            flat.resize(2 * n)
        s.grams(words, False, flat.data(), n)
        for i in range(n):
            flat[i] = <int32_t>(unknown if flat[i] < 0 else first + flat[i])
            seen[flat[i]] += 1
        for i in range(n):
            number = flat[i]
            times = seen[number]
            if times:
                seen[number] = 0
                times = times if counts else 1
                out[position, number] = <real>(times if weights is None else times * weights[number])
    s.release()
    return 0


cdef int cut(Cutter s, const unit* p, Py_ssize_t size, int64_t most, text) except -1:
    """`Cutter.split` for one way to store characters."""
    cdef uint8_t* out
    cdef const uint8_t* kinds = s.kinds
    cdef const uint8_t* small = s.small
    cdef const Letter* letter
    cdef int64_t begin = 0, end = 0, wide = sizeof(unit) + 1 + s.characters  # bytes per character at most
    cdef Py_ssize_t i = 0, stop, look = STRETCH, edge = 0  # behind the last white space
    cdef int64_t edge_end = 0
    cdef size_t edge_count = 0
    cdef uint32_t c
    cdef bint characters = s.characters
    cdef uint8_t kind
    s.ends.clear()
    s.reserve(wide * size + 2 * SLACK)
    out = s.buffer
    while i < size:
        if i >= look:
            look = i + STRETCH
            PyErr_CheckSignals()
        c = p[i]
        if c < 128:
            kind = kinds[c]
            if kind == 2:
                if end > begin:
                    s.ends.push_back(end)
                    out[end] = 32
                    begin = end = end + 1
                    if <int64_t>s.ends.size() >= most:
                        return 0
            else:
                out[end] = small[c]
                end += kind == 0
        else:
            if s.block_of[c >> 8] < 0:
                s.learn(c >> 8)
            letter = &s.letters[256 * s.block_of[c >> 8] + (c & 255)]
            kind = letter.kind
            if letter.size == 0:
                stop = i + 1
                while stop < size and not (p[stop] < 128 and s.edges[p[stop]]):
                    stop += 1
                s.ends.resize(edge_count)
                begin = end = s.standardise(text[edge:stop], edge_end)
                s.reserve(end + wide * (size - stop) + 2 * SLACK)
                out = s.buffer
                i = stop
                continue
            if kind == 2:
                if end > begin:
                    s.ends.push_back(end)
                    out[end] = 32
                    begin = end = end + 1
            elif kind == 0:
                memcpy(out + end, &letter.bytes, 4)
                end += letter.size
        i += 1
        if characters and end > begin:
            s.ends.push_back(end)
            out[end] = 32
            begin = end = end + 1
            if <int64_t>s.ends.size() >= most:
                return 0
        if c < 128 and s.edges[c]:
            edge, edge_end, edge_count = i, end, s.ends.size()
    if end > begin:
        s.ends.push_back(end)
    return 0


cdef class Splitter:
    """Cuts texts into tokens. Any number of threads may do so at once.

    Args:
        separators: characters between tokens.
        dropped: characters that are left out.
        lower: whether letters become small ones, by the rules of Unicode, before `separators` and `dropped` apply.
        compose: whether composed and decomposed forms of a letter become the same (Unicode's NFC), likewise.
        characters: whether every character is a token, instead of what stands between separators.
        widths: numbers of tokens that make up an n-gram, one after the other.
        encoding: of texts given as bytes; what it cannot read becomes U+FFFD.
    """

    cdef tuple rules
    cdef list idle  # Cutters

    def __init__(self, str separators not None, str dropped not None, bint lower, bint compose, bint characters=False,
                 widths=(1,), encoding="utf-8"):
        self.rules = (separators, dropped, lower, compose, characters, tuple(widths), encoding)
        self.idle = [Cutter(*self.rules)]

    def __reduce__(self):
        return Splitter, self.rules

    cdef Cutter take(self):
        """A Cutter for one call: a new one while others, of other threads or of a signal handler, have the old ones."""
        with critical_section(self):
            if self.idle:
                return self.idle.pop()
        return Cutter(*self.rules)

    cdef void give(self, Cutter cutter) except *:
        with critical_section(self):
            self.idle.append(cutter)

    def count(self, texts, Words words not None):
        """Adds the tokens of texts, each a document, to `words`; the number of texts."""
        cdef Cutter cutter = self.take()
        try:
            return cutter.count(texts, words)
        finally:
            self.give(cutter)

    def rows(self, list texts not None, Words words not None, int64_t unknown, int64_t first, width=None):
        """Numbers of the tokens of each text, an int64 array (texts, width), cut off or filled up with zeros at the end.

        Args:
            unknown: the number of unknown tokens.
            first: the number of the first of `words`.
            width: length of the rows; that of the longest for None.
        """
        cdef Cutter cutter = self.take()
        try:
            return cutter.rows(texts, words, unknown, first, width)
        finally:
            self.give(cutter)

    def bags(self, list texts not None, Words words not None, int64_t unknown, int64_t first, out, bint counts,
             const double[::1] weights=None):
        """Writes how often each token occurs in each text into zeros.

        Args:
            unknown, first: as of `rows`.
            out: float32 or float64 array (texts, at least `first` + number of words).
            counts: how often; False: whether, as 1.
            weights: factor of each column; None for ones.
        """
        cdef Cutter cutter = self.take()
        try:
            cutter.bags(texts, words, unknown, first, out, counts, weights)
        finally:
            self.give(cutter)

    def lists(self, text, Words words not None, list numbers not None, unknown=None) -> list:
        """Objects of the tokens of one text.

        Args:
            numbers: an object for each of `words`; None leaves the token out.
            unknown: object of unknown tokens; None leaves them out.
        """
        cdef Cutter cutter = self.take()
        try:
            return cutter.lists(text, words, numbers, unknown)
        finally:
            self.give(cutter)

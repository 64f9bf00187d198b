# Stable hashes of words; a part of _text.pyx.

cdef inline uint64_t load64(const uint8_t* p) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, p, 8)
    return value


cdef inline uint64_t load32(const uint8_t* p) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, p, 4)
    return value


cdef inline uint64_t turn(uint64_t x, int by) noexcept nogil:
    """The bits of `x`, turned to the right."""
    return (x >> by) | (x << (64 - by))

cdef uint64_t K0 = 0xc3a5c85c97cb3127ULL, K1 = 0xb492b66fbe98f273ULL, K2 = 0x9ae16a3b2f90404fULL


cdef inline uint64_t shift_mix(uint64_t x) noexcept nogil:
    return x ^ (x >> 47)


cdef inline uint64_t mix(uint64_t u, uint64_t v, uint64_t mul) noexcept nogil:
    return shift_mix((v ^ shift_mix((u ^ v) * mul)) * mul) * mul


cdef inline void mix32(const uint8_t* p, uint64_t a, uint64_t b, uint64_t* pair) noexcept nogil:
    """Two states and 32 bytes to two states."""
    cdef uint64_t c
    a += load64(p)
    b = turn(b + a + load64(p + 24), 21)
    c = a
    a += load64(p + 8) + load64(p + 16)
    pair[0], pair[1] = a + load64(p + 24), b + turn(a, 44) + c


cdef uint64_t farm_short(const uint8_t* p, uint64_t n) noexcept nogil:
    """At most 64 bytes."""
    cdef uint64_t mul = K2 + 2 * n, a, b, c, d, y, z
    if n == 0:
        return K2
    if n < 4:
        y, z = p[0] + (<uint64_t>p[n >> 1] << 8), n + (<uint64_t>p[n - 1] << 2)
        return shift_mix(y * K2 ^ z * K0) * K2
    if n < 8:
        return mix(n + (load32(p) << 3), load32(p + n - 4), mul)
    if n <= 16:
        a, b = load64(p) + K2, load64(p + n - 8)
        return mix(turn(b, 37) * mul + a, (turn(a, 25) + b) * mul, mul)
    a, b = load64(p) * (K1 if n <= 32 else K2), load64(p + 8)
    c, d = load64(p + n - 8) * mul, load64(p + n - 16) * K2
    y, z = turn(a + b, 43) + turn(c, 30) + d, a + turn(b + K2, 18) + c
    if n <= 32:
        return mix(y, z, mul)
    z = mix(y, z, mul)
    b, c = load64(p + 16) * mul, load64(p + 24)
    d, y = (y + load64(p + n - 32)) * mul, (z + load64(p + n - 24)) * mul
    return mix(turn(b + c, 43) + turn(d, 30) + y, b + turn(c + a, 18) + d, mul)


cdef uint64_t farm(const uint8_t* p, uint64_t n) noexcept nogil:
    """FarmHash's Fingerprint64 (G. Pike, 2014), the same on every machine."""
    if n <= 64:
        return farm_short(p, n)
    cdef uint64_t x = 81 * K2 + load64(p), y = 81 * K1 + 113, z = shift_mix((81 * K1 + 113) * K2 + 113) * K2
    cdef uint64_t v[2]
    cdef uint64_t w[2]
    cdef uint64_t mul = K1, nine = 1, left
    cdef const uint8_t* end = p + ((n - 1) // 64) * 64
    cdef const uint8_t* last = p + n - 64
    v[0] = v[1] = w[0] = w[1] = 0
    while True:
        x = turn(x + y + v[0] + load64(p + 8), 37) * mul
        y = turn(y + v[1] + load64(p + 48), 42) * mul
        x ^= w[1] * nine
        y += v[0] * nine + load64(p + 40)
        z = turn(z + w[0], 33) * mul
        mix32(p, v[1] * mul, x + w[0], v)
        mix32(p + 32, z + w[1], y + load64(p + 16), w)
        x, z = z, x
        if nine == 9:
            break
        p += 64
        if p == end:  # the last 64 bytes once more, with other factors
            mul, nine, p = K1 + ((z & 0xff) << 1), 9, last
            w[0] += (n - 1) & 63
            v[0] += w[0]
            w[0] += v[0]
    return mix(mix(v[0], w[0], mul) + shift_mix(y) * K0 + z, mix(v[1], w[1], mul) + x, mul)


cdef inline void sip_round(uint64_t* s) noexcept nogil:
    s[0] += s[1]
    s[1] = turn(s[1], 51) ^ s[0]
    s[0] = turn(s[0], 32)
    s[2] += s[3]
    s[3] = turn(s[3], 48) ^ s[2]
    s[0] += s[3]
    s[3] = turn(s[3], 43) ^ s[0]
    s[2] += s[1]
    s[1] = turn(s[1], 47) ^ s[2]
    s[2] = turn(s[2], 32)


cdef uint64_t sip(const uint8_t* p, uint64_t n, uint64_t key0, uint64_t key1) noexcept nogil:
    """SipHash-2-4 (Aumasson, Bernstein, 2012)."""
    cdef uint64_t s[4]
    cdef uint64_t word, i, j
    s[0], s[1] = key0 ^ 0x736f6d6570736575ULL, key1 ^ 0x646f72616e646f6dULL
    s[2], s[3] = key0 ^ 0x6c7967656e657261ULL, key1 ^ 0x7465646279746573ULL
    for i in range(n // 8 + 1):
        if 8 * i + 8 <= n:
            word = load64(p + 8 * i)
        else:
            word = n << 56
            for j in range(8 * i, n):
                word |= <uint64_t>p[j] << (8 * (j & 7))
        s[3] ^= word
        sip_round(s)
        sip_round(s)
        s[0] ^= word
    s[2] ^= 0xff
    for i in range(4):
        sip_round(s)
    return s[0] ^ s[1] ^ s[2] ^ s[3]


def hash_buckets(list words not None, uint64_t buckets, key=None):
    """The bucket 0 .. buckets - 1 of each word (str or bytes) by FarmHash, or SipHash with a key of two integers."""
    result = np.empty(len(words), np.int64)
    cdef int64_t[::1] out = result
    cdef uint64_t key0 = 0, key1 = 0
    cdef bint keyed = key is not None
    cdef Py_ssize_t i
    cdef bytes raw
    if keyed:
        key0, key1 = key
    for i, word in enumerate(words):
        PyErr_CheckSignals()
        raw = word if isinstance(word, bytes) else word.encode("utf-8", "surrogatepass")
        out[i] = (sip(raw, len(raw), key0, key1) if keyed else farm(raw, len(raw))) % buckets
    return result

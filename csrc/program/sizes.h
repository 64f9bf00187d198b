// Size functions: what a buffer holds where a product of sizes cannot say it.
#pragma once
#include <stdexcept>
#include <string>

#include "base/types.h"

namespace pydl {

// What a call broke, as a sentence without the kernel's name.
struct SizeError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// One argument of a size function: a Dims, or a dim as a list of one.
struct Sizes {
    const dim* begin;
    dim count;
    dim operator[](dim i) const;  // throws SizeError past the end
};
// Elements, of as many arguments as `arity` said.
using SizeFunction = dim (*)(const Sizes* arguments);

struct NamedSize {
    const char* name;
    int arity;
    SizeFunction function;
};
// Null: no such function.
const NamedSize* find_size(const std::string& name);

// Throw SizeError when 64 bits do not hold the result.
dim times(dim a, dim b);
dim plus(dim a, dim b);

// More elements than any array has: the addresses of a process have 47 bits. Kernels multiply sizes by each other, by
// the bytes of an element and by small numbers, in any order, and have the other bits for that.
constexpr dim kMostElements = dim{1} << 47;

// A product of sizes. Throws SizeError when those other than 0 give more than an array can have: beside an empty array
// no other one bounds them.
class Product {
public:
    void add(dim factor);
    dim value() const;

private:
    dim others_ = 1;
    bool empty_ = false;
};

}  // namespace pydl

// The contract of a row of kernels.def: what its buffers hold, in terms of its sizes. Parsed once at import, when a
// mistake in a row is an error; evaluated when Python calls the kernel. The grammar stands at the head of kernels.def.
#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "base/types.h"
#include "program/sizes.h"

namespace pydl {

struct Param;

// What one call was given: the words as Call keeps them (a list's word is its offset into `items`), and the number of
// elements of each array: counts by parameter, item_counts beside the items. `values`: whether arrays may be read (in a
// dry run nothing has been written to them).
struct Given {
    const word* words;
    const word* items;
    const dim* counts = nullptr;
    const dim* item_counts = nullptr;
    bool values = false;
};

// A value of an index that is not allowed.
struct IndexFault : SizeError {
    using SizeError::SizeError;
};

class Contract {
public:
    Contract() = default;
    // Throws std::logic_error for a text that is wrong or leaves a buffer out.
    Contract(const std::string& text, const std::vector<Param>& params);

    // Throws SizeError, a sentence, when a size is negative or too large or an array is too short, IndexFault for a
    // value of an index. Returns whether the kernel has anything to do: false when all it writes is empty. (Loops over
    // the other sizes of an empty array would still run, and nothing bounds those.)
    bool check(const std::vector<Param>& params, const Given& given) const;

    // What item `item` of a buffer holds, of a call that passed the check: the factors of its size where that is one
    // product (of `product(list)` the list), else the number of elements. Their product is what check() demands.
    std::vector<dim> shape(const std::vector<Param>& params, const Given& given, std::size_t buffer,
                           std::size_t item) const;
    // The size whose rows stand each for itself (`each: rows`), and whether a buffer holds something for each of them.
    std::size_t each() const { return each_; }
    bool is_apart(std::size_t buffer) const;
    // The buffer whose finished parts the kernel gives to a tail.
    std::size_t tail() const { return tail_; }

    // The clause about a buffer as the row has it: "outer n inner", "sizes[] if momentum".
    std::string text(const std::vector<Param>& params, std::size_t buffer) const;

    static constexpr std::size_t none = static_cast<std::size_t>(-1);

private:
    static constexpr std::size_t always = none;
    enum class Kind : unsigned char { number, value, entry, item, function, rows };
    struct Term {
        Kind kind;
        std::size_t param = 0;
        dim number = 0;
        SizeFunction function = nullptr;
        std::vector<std::size_t> arguments = {};
    };
    struct Size {
        std::vector<std::vector<Term>> sum;  // of products
        std::size_t plain = always;          // the parameter, where it is that alone: most buffers hold "n"
        std::string text;
    };
    struct Holds {
        std::size_t buffer;
        Size size;
        std::size_t condition = always;
    };
    struct Relation {
        Size left, right;
    };
    struct Needs {
        std::size_t buffer, condition;
    };
    struct Either {
        std::size_t one, other;
    };
    // Values of an int32 buffer: 0 <= value, value + more <= bound, or besides the value of a number; or each within an
    // axis, counted from its end where negative (axes: a list, whose entries take turns).
    struct Values {
        std::size_t buffer;
        Size more, bound;
        std::size_t besides = always, axes = always, condition = always;
        bool from_end = false;
    };
    class Parser;

    static dim value_of(const Term& term, const std::vector<Param>& params, const Given& given, std::size_t item);
    static void check_values(const Values& v, const std::vector<Param>& params, const Given& given);
    static dim value_of(const Size& size, const std::vector<Param>& params, const Given& given, std::size_t item);

    std::size_t each_ = none, tail_ = none;
    std::vector<std::size_t> sizes_, lists_;  // parameters that are not negative
    std::vector<Holds> holds_;
    std::vector<Relation> relations_;
    std::vector<Needs> needs_;
    std::vector<Either> eithers_;
    std::vector<Values> values_;
};

}  // namespace pydl

#include "program/contract.h"

#include <algorithm>
#include <cctype>

#include "program/kernel.h"

namespace pydl {

class Contract::Parser {
public:
    Parser(const std::string& text, const std::vector<Param>& params) : params_(params) {
        for (std::size_t i = 0; i < text.size();) {
            std::size_t end = i + 1;
            if (std::isspace(static_cast<unsigned char>(text[i]))) {
                i = end;
                continue;
            }
            if (is_name(text[i]))
                while (end < text.size() && (is_name(text[end]) || text[end] == '.')) ++end;
            else if (text.compare(i, 2, "<=") == 0) ++end;
            tokens_.push_back(text.substr(i, end - i));
            i = end;
        }
    }

    void parse(Contract& to) {
        std::vector<bool> free(params_.size()), known(params_.size());
        while (at_ < tokens_.size()) {
            clause(to, free, known);
            if (at_ < tokens_.size()) expect(";");
        }
        for (std::size_t i = 0; i < params_.size(); ++i) {
            const auto kind = params_[i].kind;
            if (kind == pydl::Kind::size && !free[i]) to.sizes_.push_back(i);
            if (kind == pydl::Kind::sizes && !free[i]) to.lists_.push_back(i);
            if (is_buffer(i) && !known[i]) fail("says nothing about '" + params_[i].name + "'");
        }
    }

private:
    static bool is_name(char c) { return std::isalnum(static_cast<unsigned char>(c)) || c == '_'; }
    [[noreturn]] static void fail(const std::string& what) { throw std::logic_error("its contract " + what); }
    const std::string& peek(std::size_t ahead = 0) const {
        static const std::string end;
        return at_ + ahead < tokens_.size() ? tokens_[at_ + ahead] : end;
    }
    void expect(const std::string& token) {
        if (peek() != token) fail("has '" + peek() + "' where '" + token + "' is expected");
        ++at_;
    }
    std::size_t param() {
        for (std::size_t i = 0; i < params_.size(); ++i)
            if (params_[i].name == peek()) return ++at_, i;
        fail("names '" + peek() + "', which is no parameter");
    }
    bool is_param(const std::string& name) const {
        return std::any_of(params_.begin(), params_.end(), [&](const Param& p) { return p.name == name; });
    }
    std::size_t param_of(const std::string& name) const {
        std::size_t i = 0;
        while (params_[i].name != name) ++i;
        return i;
    }
    bool is_buffer(std::size_t i) const {
        return params_[i].kind == pydl::Kind::buffer || params_[i].kind == pydl::Kind::buffers;
    }

    void clause(Contract& to, std::vector<bool>& free, std::vector<bool>& known) {
        std::size_t colon = 0;
        while (!peek(colon).empty() && peek(colon) != ";" && peek(colon) != ":") ++colon;
        if (peek(colon) != ":") return relation(to);
        if (peek() == "any" && colon == 1) {
            at_ += 2;
            while (!peek().empty() && peek() != ";") free[param()] = true;
            return;
        }
        if ((peek() == "each" || peek() == "tail") && colon == 1) {
            const bool each = peek() == "each";
            at_ += 2;
            const std::size_t i = param();
            if (each ? params_[i].kind != pydl::Kind::size : params_[i].kind != pydl::Kind::buffer)
                fail((each ? "names '" : "gives a tail to '") + params_[i].name + "'");
            (each ? to.each_ : to.tail_) = i;
            return;
        }
        std::vector<std::size_t> buffers;
        while (peek() != ":") buffers.push_back(param());
        expect(":");
        const Size holds = size();
        std::size_t condition = always;
        if (peek() == "if") ++at_, condition = param();
        for (const std::size_t b : buffers) {
            if (!is_buffer(b)) fail("gives a size to '" + params_[b].name + "', which is no buffer");
            if (known[b]) fail("gives two sizes to '" + params_[b].name + "'");
            known[b] = true;
            to.holds_.push_back({b, holds, condition});
        }
    }
    void relation(Contract& to) {
        if (peek(1) == "if") {
            const std::size_t buffer = param();
            ++at_;
            to.needs_.push_back({buffer, param()});
            return;
        }
        if (peek(1) == "or") {
            const std::size_t one = param();
            ++at_;
            to.eithers_.push_back({one, param()});
            return;
        }
        if (is_param(peek()) && is_buffer(param_of(peek()))) return values(to);
        Size left = size();
        expect("<=");
        Size right = size();
        to.relations_.push_back({left, right});
    }
    void values(Contract& to) {
        Values v{};
        v.buffer = index();
        if (peek() == "within") {
            ++at_;
            v.from_end = true;
            if (is_param(peek()) && params_[param_of(peek())].kind == pydl::Kind::sizes && peek(1) != "[") {
                v.axes = param();
            } else {
                v.bound = size();
            }
        } else {
            expect("+");
            v.more = size();
            expect("<=");
            v.bound = size();
        }
        if (peek() == "or") ++at_, v.besides = param();
        if (peek() == "if") ++at_, v.condition = param();
        to.values_.push_back(v);
    }
    std::size_t index() {
        const std::size_t p = param();
        if (params_[p].kind != pydl::Kind::buffer || params_[p].dtype != dtype_of<std::int32_t>())
            fail("takes values of '" + params_[p].name + "', which is no array of int32");
        return p;
    }
    Size size() {
        const std::size_t begin = at_;
        Size result;
        do {
            if (!result.sum.empty()) ++at_;
            result.sum.emplace_back();
            while (is_name(peek()[0]) && peek() != "if" && peek() != "or") result.sum.back().push_back(term());
            if (result.sum.back().empty()) fail("lacks a size before '" + peek() + "'");
        } while (peek() == "+");
        if (result.sum.size() == 1 && result.sum[0].size() == 1 && result.sum[0][0].kind == Contract::Kind::value)
            result.plain = result.sum[0][0].param;
        for (std::size_t i = begin; i < at_; ++i) {
            const bool tight = i == begin || std::string("[](),").find(tokens_[i]) != std::string::npos ||
                               tokens_[i - 1] == "[" || tokens_[i - 1] == "(";
            result.text += (tight ? "" : " ") + tokens_[i];
        }
        return result;
    }
    Term term() {
        if (std::isdigit(static_cast<unsigned char>(peek()[0]))) {
            const dim number = std::stoll(peek());
            ++at_;
            return {Contract::Kind::number, 0, number};
        }
        if (peek() == "rows" && peek(1) == "(") {
            at_ += 2;
            const std::size_t p = index();
            expect(")");
            return {Contract::Kind::rows, p};
        }
        if (peek(1) == "(") return call();
        const std::size_t p = param();
        if (peek() != "[") {
            if (params_[p].kind != pydl::Kind::size) fail("takes '" + params_[p].name + "' for a size");
            return {Contract::Kind::value, p};
        }
        expect("[");
        if (params_[p].kind != pydl::Kind::sizes) fail("takes entries of '" + params_[p].name + "'");
        if (peek() == "]") return expect("]"), Term{Contract::Kind::item, p};
        const dim number = std::stoll(peek());
        ++at_;
        expect("]");
        return {Contract::Kind::entry, p, number};
    }
    Term call() {
        const NamedSize* named = find_size(peek());
        if (!named) fail("names '" + peek() + "', which is no size function");
        ++at_;
        Term result{Contract::Kind::function, 0, 0, named->function};
        expect("(");
        while (peek() != ")") {
            if (!result.arguments.empty()) expect(",");
            const std::size_t p = param();
            if (params_[p].kind != pydl::Kind::size && params_[p].kind != pydl::Kind::sizes)
                fail("calls " + std::string(named->name) + " with '" + params_[p].name + "'");
            result.arguments.push_back(p);
        }
        expect(")");
        if (static_cast<int>(result.arguments.size()) != named->arity || named->arity > 4)
            fail("calls " + std::string(named->name) + " with another number of arguments");
        return result;
    }

    const std::vector<Param>& params_;
    std::vector<std::string> tokens_;
    std::size_t at_ = 0;
};

Contract::Contract(const std::string& text, const std::vector<Param>& params) { Parser(text, params).parse(*this); }

namespace {

Sizes list_of(const Param& p, const Given& given, std::size_t i) {
    if (p.kind == Kind::size) return {reinterpret_cast<const dim*>(given.words + i), 1};
    const word* head = given.items + given.words[i];
    return {reinterpret_cast<const dim*>(head + 1), static_cast<dim>(head[0])};
}

// The values of an int32 array of the call; none where they may not be read.
struct Numbers {
    const std::int32_t* begin;
    dim count;
};
Numbers numbers_of(const Given& given, std::size_t i) {
    if (!given.values || !given.words[i]) return {nullptr, 0};
    return {reinterpret_cast<const std::int32_t*>(given.words[i]), given.counts[i]};
}

[[noreturn]] void bad_value(const Param& p, const Numbers& all, dim i, dim low, dim high) {
    throw IndexFault("argument '" + p.name + "': value " + std::to_string(all.begin[i]) + " at position " +
                     std::to_string(i) + " is not allowed (low=" + std::to_string(low) +
                     ", high=" + std::to_string(high) + ")");
}

// Rows that an index of rows counted from 0 needs.
dim rows_of(const Param& p, const Given& given, std::size_t i) {
    const Numbers all = numbers_of(given, i);
    dim rows = 0;
    for (dim k = 0; k < all.count; ++k) {
        if (all.begin[k] < 0) bad_value(p, all, k, 0, std::int64_t{1} << 31);
        rows = std::max(rows, dim{all.begin[k]} + 1);
    }
    return rows;
}

}  // namespace

void Contract::check_values(const Values& v, const std::vector<Param>& params, const Given& given) {
    const Numbers all = numbers_of(given, v.buffer);
    if (v.condition != always && !given.words[v.condition]) return;
    if (v.axes != always) {
        const Sizes axes = list_of(params[v.axes], given, v.axes);
        for (dim i = 0; axes.count && i < all.count; ++i) {
            const dim n = axes.begin[i % axes.count];
            if (all.begin[i] < -n || all.begin[i] >= n) bad_value(params[v.buffer], all, i, -n, n);
        }
        return;
    }
    const dim bound = value_of(v.bound, params, given, 0);
    const dim low = v.from_end ? -bound : 0;
    const dim high = v.from_end ? bound : bound - value_of(v.more, params, given, 0) + 1;
    const auto [least, most] = std::minmax_element(all.begin, all.begin + all.count);
    if (all.count == 0 || (*least >= low && *most < high)) return;
    for (dim i = 0; i < all.count; ++i) {
        const dim value = all.begin[i];
        if ((value < low || value >= high) &&
            (v.besides == always || value != static_cast<dim>(given.words[v.besides])))
            bad_value(params[v.buffer], all, i, low, high);
    }
}

dim Contract::value_of(const Term& t, const std::vector<Param>& params, const Given& given, std::size_t item) {
    switch (t.kind) {
        case Kind::number: break;
        case Kind::value: return static_cast<dim>(given.words[t.param]);
        case Kind::entry: return list_of(params[t.param], given, t.param)[t.number];
        case Kind::item: return list_of(params[t.param], given, t.param)[static_cast<dim>(item)];
        case Kind::function: {
            Sizes arguments[4];
            for (std::size_t i = 0; i < t.arguments.size(); ++i)
                arguments[i] = list_of(params[t.arguments[i]], given, t.arguments[i]);
            return t.function(arguments);
        }
        case Kind::rows: return rows_of(params[t.param], given, t.param);
    }
    return t.number;
}

dim Contract::value_of(const Size& size, const std::vector<Param>& params, const Given& given, std::size_t item) {
    if (size.plain != always) return static_cast<dim>(given.words[size.plain]);
    dim total = 0;
    for (const auto& product : size.sum) {
        Product part;
        for (const Term& t : product) part.add(value_of(t, params, given, item));
        total = plus(total, part.value());
    }
    return total;
}

std::vector<dim> Contract::shape(const std::vector<Param>& params, const Given& given, std::size_t buffer,
                                 std::size_t item) const {
    static const SizeFunction product_of = find_size("product")->function;
    std::vector<dim> factors;
    for (const Holds& h : holds_) {
        if (h.buffer != buffer) continue;
        if (h.condition != always && !given.words[h.condition]) return {0};
        if (h.size.sum.size() > 1) return {value_of(h.size, params, given, item)};
        for (const Term& t : h.size.sum[0]) {
            if (t.function != product_of) {
                factors.push_back(value_of(t, params, given, item));
                continue;
            }
            const Sizes list = list_of(params[t.arguments[0]], given, t.arguments[0]);
            factors.insert(factors.end(), list.begin, list.begin + list.count);
        }
    }
    return factors;
}

bool Contract::is_apart(std::size_t buffer) const {
    return std::any_of(holds_.begin(), holds_.end(), [&](const Holds& h) {
        return h.buffer == buffer && h.size.sum.size() == 1 && h.size.sum[0][0].kind == Kind::value &&
               h.size.sum[0][0].param == each_;
    });
}

std::string Contract::text(const std::vector<Param>& params, std::size_t buffer) const {
    for (const Holds& h : holds_)
        if (h.buffer == buffer)
            return h.condition == always ? h.size.text : h.size.text + " if " + params[h.condition].name;
    return "";
}

bool Contract::check(const std::vector<Param>& params, const Given& given) const {
    const auto bound = [&](std::size_t i, dim value) {
        if (value < 0 || value > kMostElements)
            throw SizeError("argument '" + params[i].name + "' expected a size of at " +
                            (value < 0 ? "least 0" : "most " + std::to_string(kMostElements)) + "; received " +
                            std::to_string(value));
    };
    for (const std::size_t i : sizes_) bound(i, static_cast<dim>(given.words[i]));
    for (const std::size_t i : lists_) {
        const Sizes list = list_of(params[i], given, i);
        for (dim k = 0; k < list.count; ++k) bound(i, list.begin[k]);
    }
    for (const Relation& r : relations_) {
        const dim left = value_of(r.left, params, given, 0), right = value_of(r.right, params, given, 0);
        if (left > right)
            throw SizeError("expected " + r.left.text + " <= " + r.right.text + "; received " + std::to_string(left) +
                            " and " + std::to_string(right));
    }
    for (const Needs& n : needs_)
        if (given.words[n.condition] && !given.words[n.buffer])
            throw SizeError("argument '" + params[n.buffer].name + "' expected an array beside '" +
                            params[n.condition].name + "'; received None");
    for (const Either& e : eithers_)
        if (!given.words[e.one] && !given.words[e.other])
            throw SizeError("expected '" + params[e.one].name + "' or '" + params[e.other].name +
                            "'; received None for both");
    bool writes = false, fills = false;
    const auto hold = [&](const Holds& h, dim count, std::size_t item, bool listed) {
        const dim wanted = value_of(h.size, params, given, item);
        if (params[h.buffer].writes) fills |= wanted > 0;
        if (count < wanted)
            throw SizeError("argument '" + params[h.buffer].name + (listed ? "[" + std::to_string(item) + "]" : "") +
                            "' holds " + h.size.text + ": expected at least " + std::to_string(wanted) +
                            " elements; received an array of " + std::to_string(count));
    };
    for (const Holds& h : holds_) {
        writes |= params[h.buffer].writes;
        if (h.condition != always && !given.words[h.condition]) continue;
        if (params[h.buffer].kind == pydl::Kind::buffer) {
            if (given.words[h.buffer]) hold(h, given.counts[h.buffer], 0, false);
            continue;
        }
        const word offset = given.words[h.buffer];
        const std::size_t count = given.items[offset];
        for (const auto& product : h.size.sum)
            for (const Term& t : product)
                if (t.kind == Kind::item && list_of(params[t.param], given, t.param).count != static_cast<dim>(count))
                    throw SizeError("argument '" + params[h.buffer].name + "' expected as many arrays as '" +
                                    params[t.param].name + "' has numbers; received " + std::to_string(count));
        for (std::size_t k = 0; k < count; ++k) hold(h, given.item_counts[offset + 1 + k], k, true);
    }
    for (const Values& v : values_) check_values(v, params, given);
    return fills || !writes;
}

}  // namespace pydl

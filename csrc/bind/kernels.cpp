// Every row of kernels.def as a callable of `_core.kernels`; arguments are checked here, once, by the row.
#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <atomic>

#include "base/cpu.h"
#include "bind/bind.h"
#include "build_lists.h"
#include "program/widen.h"

namespace py = pybind11;

namespace pydl {

#define PYDL_DECLARE(family) void register_##family(const std::string& isa);
PYDL_FOR_EACH_FAMILY(PYDL_DECLARE)

namespace {

[[noreturn]] void bad_argument(const Kernel& k, const Param& p, const std::string& wanted, py::handle got) {
    throw py::type_error("kernel " + k.name + ": argument '" + p.name + "' expected " + wanted + "; received " +
                         py::repr(got).cast<std::string>().substr(0, 200));
}

// The element type of an array, or -1. bool is stored, and computed with, as uint8.
int type_of(const py::dtype& dtype) {
    if (dtype.byteorder() == '>') return -1;  // NumPy's mark of the order that is not the machine's
    const char kind = dtype.kind() == 'b' ? 'u' : dtype.kind();
    const py::ssize_t size = dtype.itemsize();
#define TYPE(name, stored, computed, letter, rows)                                      \
    if (kind == letter && size == sizeof(stored)) return static_cast<int>(DType::name);
#include "types.def"
#undef TYPE
    return -1;
}
// NumPy has one dtype object for each of its own types, which nearly all arrays share: the first seen of each element
// type is kept (alive, so that its address stays its own) and known again without reading it.
int type_of(const py::array& a) {
    static std::atomic<PyObject*> known[kDTypes];
    PyObject* descr = py::detail::array_proxy(a.ptr())->descr;
    for (int t = 0; t < kDTypes; ++t)
        if (known[t].load(std::memory_order_relaxed) == descr) return t;
    const int type = type_of(py::reinterpret_borrow<py::dtype>(descr));
    PyObject* none = nullptr;
    if (type >= 0 && known[type].compare_exchange_strong(none, descr)) Py_INCREF(descr);
    return type;
}

// The instance that runs, and the type of the arrays where the parameters say T: that of the instance, or a narrow one
// that has none of its own and is widened to it.
struct Choice {
    const Instance& instance;
    DType type;
    bool widened;
};

// A call with the elements of its arrays, beside its words and beside its items.
struct CheckedCall : Call {
    dim counts[kMaxParams];
    std::vector<dim> item_counts;
    std::vector<word> wide;  // arrays of a widened call that have the computed type already (a learning rate, a sum)
};

// `count`: the number of its elements.
word buffer_word(const Kernel& k, const Param& p, const Choice& choice, py::handle value, dim& count,
                 std::vector<word>& wide) {
    count = 0;
    if (value.is_none()) {
        if (!p.optional) bad_argument(k, p, "an array", value);
        return 0;
    }
    const DType type = p.generic ? choice.type : p.dtype;
    if (!py::isinstance<py::array>(value))
        bad_argument(k, p, std::string("a NumPy array of ") + dtype_name(type), value);
    const auto array = py::reinterpret_borrow<py::array>(value);
    const int flags = array.flags();
    const int found = type_of(array);
    const bool is_wide = choice.widened && p.generic && found == static_cast<int>(computed_as(type));
    if (found != static_cast<int>(type) && !is_wide)
        bad_argument(k, p, std::string("dtype ") + dtype_name(type),
                     py::str(std::string("dtype ") + py::str(array.dtype()).cast<std::string>()));
    if (!(flags & py::array::c_style)) bad_argument(k, p, "a C-contiguous array", py::str("another layout"));
    if (!(flags & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
        bad_argument(k, p, "elements at multiples of their size", py::str("an array that is not aligned"));
    if (p.writes && !(flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_))
        bad_argument(k, p, "a writeable array", py::str("a read-only one"));
    const void* data = array.data();
    count = array.size();
    if (recorder().open && !recorder().dry) keep_alive_while_recorded(array, data);
    const word address = reinterpret_cast<word>(data);
    if (is_wide) wide.push_back(address);
    return address;
}

dim size_of(const Kernel& k, const Param& p, py::handle value) {
    const auto n = PyNumber_AsSsize_t(value.ptr(), PyExc_OverflowError);
    if (n == -1 && PyErr_Occurred()) {
        PyErr_Clear();
        bad_argument(k, p, "an integer", value);
    }
    return n;
}

Choice choose(const Kernel& k, const py::args& args) {
    // Any instance tells which parameters are of type T; the first array there tells T.
    const Instance* any = nullptr;
    for (const auto& i : k.instances)
        if (i) any = &*i;
    if (args.size() != any->params.size())
        throw py::type_error("kernel " + k.name + k.signature + ": expected " + std::to_string(any->params.size()) +
                             " arguments; received " + std::to_string(args.size()));
    for (std::size_t i = 0; i < args.size(); ++i) {
        const Param& p = any->params[i];
        if (!p.generic) continue;
        py::object value = args[i];
        if (p.kind == Kind::buffers && py::isinstance<py::sequence>(value) && py::len(value) > 0)
            value = py::reinterpret_borrow<py::sequence>(value)[0];
        if (!py::isinstance<py::array>(value)) continue;
        const auto array = py::reinterpret_borrow<py::array>(value);
        const int type = type_of(array);
        if (type >= 0) {
            const auto stored = static_cast<DType>(type);
            if (const auto& own = k.instances[static_cast<std::size_t>(type)]) return {*own, stored, false};
            const auto computed = static_cast<std::size_t>(computed_as(stored));
            if (const auto& wide = k.instances[computed]) return {*wide, stored, true};
        }
        throw py::type_error("kernel " + k.name + ": no instance for dtype " +
                             py::str(array.dtype()).cast<std::string>() + " (argument '" + p.name + "')");
    }
    return {*any, DType{}, false};
}

// Elements of all arrays, from which on a kernel runs without the GIL. Giving it up and taking it back costs 55 ns; the
// quickest call of that size (relu, one AVX-512 core) takes a microsecond.
constexpr dim kLongCall = 32768;

void call_kernel(const Kernel& k, const py::args& args) {
    const Choice choice = choose(k, args);
    const Instance& instance = choice.instance;
    // Not one per thread: a signal handler, or another thread of Python's, may call kernels while this one runs.
    CheckedCall call;
    dim elements = 0;
    std::vector<py::tuple> lists;
    for (const Param& p : instance.params) {
        const py::handle value = PyTuple_GET_ITEM(args.ptr(), static_cast<py::ssize_t>(call.count));
        word w = 0;
        switch (p.kind) {
            case Kind::buffer:
                w = buffer_word(k, p, choice, value, call.counts[call.count], call.wide);
                elements += call.counts[call.count];
                break;
            case Kind::size: w = static_cast<word>(size_of(k, p, value)); break;
            case Kind::scalar: {
                const double x = PyFloat_AsDouble(value.ptr());
                if (x == -1.0 && PyErr_Occurred()) {
                    PyErr_Clear();
                    bad_argument(k, p, "a number", value);
                }
                w = std::bit_cast<word>(x);
                break;
            }
            case Kind::sizes:
            case Kind::buffers: {
                if (!py::isinstance<py::sequence>(value)) bad_argument(k, p, "a list or tuple", value);
                // A tuple of its own: another thread may change the list, of buffers while the kernel runs.
                const py::tuple items(py::reinterpret_borrow<py::object>(value));
                if (p.kind == Kind::buffers) lists.push_back(items);
                w = call.items.size();
                call.items.push_back(items.size());
                call.item_counts.push_back(0);
                for (const py::handle item : items) {
                    dim& count = call.item_counts.emplace_back(0);
                    call.items.push_back(p.kind == Kind::sizes ? static_cast<word>(size_of(k, p, item))
                                                               : buffer_word(k, p, choice, item, count, call.wide));
                    elements += count;
                }
                break;
            }
        }
        call.words[call.count++] = w;
    }
    const Given given{call.words, call.items.data(), call.counts, call.item_counts.data(), !recorder().dry};
    try {
        if (!k.holds.check(instance.params, given)) return;
    } catch (const IndexFault& e) {
        throw py::index_error("kernel " + k.name + ": " + e.what());
    } catch (const SizeError& e) { throw py::value_error("kernel " + k.name + ": " + e.what()); }
    std::optional<Widened> widened;
    if (choice.widened) widened.emplace(k, instance, choice.type, call, given, call.wide);
    dim position;
    {
        // The arrays stay alive: `args` and `lists` hold them.
        std::optional<py::gil_scoped_release> released;
        if (elements >= kLongCall) released.emplace();
        position = widened ? widened->launch() : launch(k, instance, call);
    }
    raise_if_interrupted();
    if (position >= 0) raise_failed_check(k, describe_failure(recorder().label, k, instance, call.words, position));
}

// `kernel(*args)`, as the type's own slot: a method bound by pybind11 costs 100 ns more than the quickest kernel takes.
PyObject* call_slot(PyObject* self, PyObject* args, PyObject* named) {
    const auto holder = reinterpret_cast<py::detail::instance*>(self)->get_value_and_holder();
    const Kernel& k = *holder.value_ptr<Kernel>();
    try {
        if (named && PyDict_GET_SIZE(named) > 0)
            throw py::type_error("kernel " + k.name + ": its arguments have no names");
        call_kernel(k, py::reinterpret_borrow<py::args>(args));
        Py_RETURN_NONE;
    } catch (py::error_already_set& e) { e.restore(); } catch (const py::builtin_exception& e) {
        e.set_error();
    } catch (const std::bad_alloc& e) {
        PyErr_SetString(PyExc_MemoryError, e.what());
    } catch (const std::exception& e) { PyErr_SetString(PyExc_RuntimeError, e.what()); }
    return nullptr;
}

}  // namespace

std::string access_name(const Param& p) {
    switch (p.kind) {
        case Kind::size: return "size";
        case Kind::scalar: return "scalar";
        case Kind::sizes: return "sizes";
        default: break;
    }
    return std::string(p.reads ? (p.writes ? "inout" : "in") : "out") + (p.optional ? "?" : "") +
           (p.kind == Kind::buffers ? "[]" : "");
}

// (name, access, element type, what it holds); the last two are "" of numbers, the type is "T" where it is the row's.
py::tuple parameter(const Kernel& k, const std::vector<Param>& params, std::size_t n) {
    const Param& p = params[n];
    const bool buffer = p.kind == Kind::buffer || p.kind == Kind::buffers;
    return py::make_tuple(p.name, access_name(p),
                          !buffer     ? ""
                          : p.generic ? "T"
                                      : dtype_name(p.dtype),
                          k.holds.text(params, n));
}

void raise_failed_check(const Kernel& kernel, const std::string& text) {
    if (kernel.error == "IndexError") throw py::index_error(text);
    if (kernel.error == "FloatingPointError") {
        PyErr_SetString(PyExc_FloatingPointError, text.c_str());
        throw py::error_already_set();
    }
    throw py::value_error(text);
}

void bind_kernels(py::module_& m) {
    const std::string isa = chosen_isa();
#define PYDL_REGISTER(family) register_##family(isa);
    PYDL_FOR_EACH_FAMILY(PYDL_REGISTER)
    finish_kernels();

    py::class_<Kernel>(m, "Kernel",
                       py::custom_type_setup([](PyHeapTypeObject* type) { type->ht_type.tp_call = &call_slot; }))
        .def_readonly("name", &Kernel::name)
        .def_readonly("family", &Kernel::family)
        .def_readonly("signature", &Kernel::signature)
        .def_readonly("contract", &Kernel::contract)
        .def_readonly("error", &Kernel::error)
        .def_property_readonly("is_check", &Kernel::is_check)
        .def_property_readonly("dtypes",
                               [](const Kernel& k) {
                                   py::list types;
                                   for (int t = 0; t < kDTypes; ++t) {
                                       const auto type = static_cast<DType>(t);
                                       const auto wide = static_cast<std::size_t>(computed_as(type));
                                       if (k.instances[static_cast<std::size_t>(t)] || k.instances[wide])
                                           types.append(dtype_name(type));
                                   }
                                   return types;
                               })
        .def_property_readonly("params",
                               [](const Kernel& k) {
                                   py::list params;
                                   for (const auto& i : k.instances)
                                       if (i) {
                                           for (std::size_t n = 0; n < i->params.size(); ++n)
                                               params.append(parameter(k, i->params, n));
                                           break;
                                       }
                                   return params;
                               })
        .def("__repr__", [](const Kernel& k) { return "<kernel " + k.name + k.signature + ">"; });

    auto table = m.def_submodule("kernels", "One callable per row of csrc/kernels.def.");
    for (const Kernel& k : kernels()) table.attr(k.name.c_str()) = py::cast(&k, py::return_value_policy::reference);
}

}  // namespace pydl

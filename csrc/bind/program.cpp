#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <cstring>
#include <unordered_map>
#include <utility>

#include "bind/bind.h"
#include "bind/lease.h"
#include "program/program.h"

namespace py = pybind11;

namespace pydl {
namespace {

// A program together with the arrays outside its arena that its steps point into.
struct PyProgram {
    Program program;
    std::unordered_map<const void*, py::object> kept;
};

thread_local PyProgram* open_program = nullptr;

[[noreturn]] void raise(const Program& program, const Failure& f) {
    const auto text =
        describe_failure(program.label(f.info->label), *f.info->kernel, *f.info->instance, f.words, f.position);
    raise_failed_check(*f.info->kernel, text);
}

void run(const PyProgram& p) {
    Failure failure;
    {
        py::gil_scoped_release release;
        failure = p.program.run();
    }
    raise_if_interrupted();
    if (failure) raise(p.program, failure);
}

// The short way of a prediction, where what Python takes to copy in, to run and to copy out would be more than the
// network takes: a fresh array with the output for `x`. `instances`, one for each place, have an attribute `one_array`:
// (input array, Program, output array). Returns None where a place has no instance yet, and where `x` is no array of
// the input's shape and type.
py::object replay(Gate& gate, Places& places, const py::list& instances, py::handle x) {
    static PyObject* const one_array = PyUnicode_InternFromString("one_array");
    const auto& numpy = py::detail::npy_api::get();
    if (Py_TYPE(x.ptr()) != numpy.PyArray_Type_) return py::none();
    const auto given = py::reinterpret_borrow<py::array>(x);
    const Visit visit(gate, places);
    const py::object instance = instances[static_cast<std::size_t>(visit.place())];
    if (instance.is_none()) return py::none();
    const py::tuple parts = py::getattr(instance, one_array);
    const auto input = py::reinterpret_borrow<py::array>(parts[0]),
               output = py::reinterpret_borrow<py::array>(parts[2]);
    if (given.ndim() != input.ndim() || !std::equal(given.shape(), given.shape() + given.ndim(), input.shape()) ||
        !numpy.PyArray_EquivTypes_(given.dtype().ptr(), input.dtype().ptr()))
        return py::none();
    if (given.flags() & py::array::c_style)
        std::memcpy(py::detail::array_proxy(input.ptr())->data, given.data(), static_cast<std::size_t>(given.nbytes()));
    else if (numpy.PyArray_CopyInto_(input.ptr(), given.ptr()) != 0) throw py::error_already_set();
    run(parts[1].cast<const PyProgram&>());
    return py::reinterpret_steal<py::object>(numpy.PyArray_NewCopy_(output.ptr(), 0));  // 0: C order
}

// Buffers outside of the arena, numbered as they are met.
using Outside = std::unordered_map<word, dim>;

// The arguments of a step: (name, access, value), the value a number, a list of numbers, or of a buffer (element type,
// offset in the arena or -1, number of the outside buffer or -1, shape), of a list of buffers a list of those.
py::list arguments_of(const PyProgram& p, std::size_t s, Outside& outside) {
    const StepInfo& info = p.program.infos()[s];
    const auto& params = info.instance->params;
    const word* block = p.program.steps()[s].words;
    // The contract reads lists as offsets; recorded they are addresses into the step's own block.
    std::vector<word> words(block, block + params.size());
    for (std::size_t i = 0; i < params.size(); ++i)
        if (params[i].kind == Kind::sizes || params[i].kind == Kind::buffers)
            words[i] = static_cast<word>(reinterpret_cast<const word*>(block[i]) - block);
    const Given given{words.data(), block};
    const auto buffer = [&](std::size_t i, std::size_t item, word address) -> py::object {
        if (!address) return py::none();
        const auto offset = p.program.arena()->offset_of(reinterpret_cast<const void*>(address));
        const dim number = offset < 0 ? outside.try_emplace(address, outside.size()).first->second : -1;
        return py::make_tuple(dtype_name(params[i].dtype), offset, number,
                              py::tuple(py::cast(info.kernel->holds.shape(params, given, i, item))));
    };
    py::list arguments;
    for (std::size_t i = 0; i < params.size(); ++i) {
        const Param& param = params[i];
        py::object value;
        if (param.kind == Kind::buffer) value = buffer(i, 0, block[i]);
        else if (param.kind == Kind::size) value = py::int_(static_cast<dim>(block[i]));
        else if (param.kind == Kind::scalar) value = py::float_(std::bit_cast<real>(block[i]));
        else {
            py::list items;
            for (std::size_t k = 0; k < block[words[i]]; ++k) {
                const word item = block[words[i] + 1 + k];
                items.append(param.kind == Kind::sizes ? py::object(py::int_(static_cast<dim>(item)))
                                                       : buffer(i, k, item));
            }
            value = items;
        }
        arguments.append(py::make_tuple(param.name, access_name(param), value));
    }
    return arguments;
}

// The steps as pydl/listing.py reads them: (label, kernel, the row's T or "", arguments, seconds or None).
py::list rows_of(const PyProgram& p, const std::vector<double>& seconds) {
    Outside outside;
    py::list rows;
    for (std::size_t s = 0; s < p.program.steps().size(); ++s) {
        const StepInfo& info = p.program.infos()[s];
        const auto& params = info.instance->params;
        const auto generic = std::find_if(params.begin(), params.end(), [](const Param& q) { return q.generic; });
        rows.append(py::make_tuple(
            p.program.label(info.label), info.kernel->name, generic == params.end() ? "" : dtype_name(generic->dtype),
            arguments_of(p, s, outside), seconds.empty() ? py::object(py::none()) : py::float_(seconds[s])));
    }
    return rows;
}

void open(PyProgram* program) {
    open_program = program;
    recorder().open = program ? &program->program : nullptr;
}

// What this thread does inside a `with` statement is recorded. In C++, so that Ctrl-C leaves no recording open
// (bind/lease.h).
struct Recording {
    py::object program;
    PyProgram* before = nullptr;

    void enter() {
        before = open_program;
        open(program.cast<PyProgram*>());
    }
    void exit() { open(before); }
};

dim loop(const std::vector<PyProgram*>& programs, py::array_t<std::int32_t>& index,
         const py::array_t<std::int32_t, py::array::c_style>& order, dim first, dim last, double seconds) {
    Loop l{{}, index.mutable_data(), order.data(), index.size()};
    if (first < 0 || last < first || last * l.batch_size > order.size())
        throw py::index_error("run_loop: rounds " + std::to_string(first) + " to " + std::to_string(last) + " of " +
                              std::to_string(l.batch_size) + " indices exceed the order list of " +
                              std::to_string(order.size()));
    for (const auto* p : programs) l.programs.push_back(&p->program);
    Failure failure;
    dim done;
    {
        py::gil_scoped_release release;
        done = run_loop(l, first, last, seconds, failure);
    }
    raise_if_interrupted();
    if (failure) {
        for (const auto* p : programs)
            for (const auto& info : p->program.infos())
                if (&info == failure.info) raise(p->program, failure);
    }
    return done;
}

}  // namespace

Unrecorded::Unrecorded()
    : program_(std::exchange(open_program, nullptr)), recorder_(std::exchange(recorder(), Recorder{})) {}
Unrecorded::~Unrecorded() {
    open_program = static_cast<PyProgram*>(program_);
    recorder() = recorder_;
}

void keep_alive_while_recorded(const py::object& array, const void* data) {
    if (!open_program || open_program->program.arena()->contains(data)) return;
    open_program->kept.try_emplace(data, array);
}

void bind_program(py::module_& m) {
    py::class_<PyProgram>(m, "Program")
        .def(py::init<>())
        .def("run", &run)
        .def("seal", [](PyProgram& p) { p.program.seal(); })
        .def("steps", [](const PyProgram& p) { return rows_of(p, {}); })
        .def(
            "profile",
            [](const PyProgram& p, int repeats) {
                const auto seconds = p.program.profile(repeats);
                raise_if_interrupted();
                return rows_of(p, seconds);
            },
            py::arg("repeats") = 1)
        .def("__len__", [](const PyProgram& p) { return p.program.steps().size(); })
        // Where the arrays begin that its steps use and that do not lie in its arena: variables, constants.
        .def("outside",
             [](const PyProgram& p) {
                 py::list addresses;
                 for (const auto& [data, array] : p.kept) addresses.append(reinterpret_cast<std::uintptr_t>(data));
                 return addresses;
             })
        .def_property_readonly("grouped", [](const PyProgram& p) { return p.program.grouped(); })
        .def_property_readonly("writes_outside", [](const PyProgram& p) { return p.program.writes_outside(); })
        .def_property_readonly("arena_bytes", [](const PyProgram& p) { return p.program.arena()->peak_bytes(); });

    // The innermost recording of this thread; None pauses. Returns the one that was open before.
    m.def(
        "open_recording",
        [](py::object program) -> py::object {
            py::object before =
                open_program ? py::cast(open_program, py::return_value_policy::reference) : py::object(py::none());
            open(program.is_none() ? nullptr : program.cast<PyProgram*>());
            return before;
        },
        py::arg("program").none(true));
    py::class_<Recording>(m, "Recording")
        .def(py::init([](py::object program) { return Recording{std::move(program)}; }), py::arg("program"))
        .def("__enter__", &Recording::enter)
        .def("__exit__", [](Recording& r, const py::args&) { r.exit(); });
    m.def("is_recording", [] { return open_program != nullptr; });
    // Shapes only: kernels do not run. Returns what held before.
    m.def("set_dry_run", [](bool dry) {
        std::swap(recorder().dry, dry);
        return dry;
    });
    m.def("is_dry_run", [] { return recorder().dry; });
    m.def("set_label", [](std::string label) {
        recorder().label.swap(label);
        return label;
    });
    m.def("replay", &replay, py::arg("gate"), py::arg("places"), py::arg("instances"), py::arg("x"));
    m.def("run_loop", &loop, py::arg("programs"), py::arg("index").noconvert(), py::arg("order"), py::arg("first"),
          py::arg("last"), py::arg("seconds"));
}

}  // namespace pydl

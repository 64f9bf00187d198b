#include <pybind11/numpy.h>
#include <pybind11/stl.h>

#include <unordered_map>
#include <utility>

#include "bind/bind.h"
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
    if (f.info->kernel->name == "check_index") throw py::index_error(text);
    throw py::value_error(text);
}

void open(PyProgram* program) {
    open_program = program;
    recorder().open = program ? &program->program : nullptr;
}

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
        .def("run",
             [](const PyProgram& p) {
                 Failure failure;
                 {
                     py::gil_scoped_release release;
                     failure = p.program.run();
                 }
                 raise_if_interrupted();
                 if (failure) raise(p.program, failure);
             })
        .def("seal", [](PyProgram& p) { p.program.seal(); })
        .def(
            "profile",
            [](const PyProgram& p, int repeats) {
                const auto seconds = p.program.profile(repeats);
                raise_if_interrupted();
                py::list rows;
                for (std::size_t i = 0; i < seconds.size(); ++i) {
                    const auto& info = p.program.infos()[i];
                    rows.append(py::make_tuple(p.program.label(info.label), info.kernel->name, seconds[i]));
                }
                return rows;
            },
            py::arg("repeats") = 1)
        .def("__len__", [](const PyProgram& p) { return p.program.steps().size(); })
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
    m.def("run_loop", &loop, py::arg("programs"), py::arg("index").noconvert(), py::arg("order"), py::arg("first"),
          py::arg("last"), py::arg("seconds"));
}

}  // namespace pydl

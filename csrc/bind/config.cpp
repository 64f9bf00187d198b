#include <pybind11/stl.h>

#include "base/cores.h"
#include "base/cpu.h"
#include "base/parallel.h"
#include "base/team.h"
#include "bind/bind.h"
#include "program/kernel.h"

namespace py = pybind11;

namespace pydl {

void bind_config(py::module_& m) {
    m.def("isa", [] { return std::string(chosen_isa()); });
    m.def("supported_isas", [] {
        py::list names;
        for (const char* name : supported_isas()) names.append(name);
        return names;
    });
    m.def("dtypes", [] {
        py::list rows;
#define TYPE(name, stored, computed, kind, step)                                                                       \
    rows.append(py::make_tuple(#name, std::string(1, kind), sizeof(stored), #step, dtype_name(dtype_of<computed>())));
#include "types.def"
#undef TYPE
        return rows;
    });
    threads();  // a bad PYDL_NUM_THREADS fails the import, not a kernel
    m.def("threads", [] { return granted_threads(); });
    m.def("set_threads", [](int n) {
        if (n < 1) throw py::value_error("set_threads: expected at least 1 thread; received " + std::to_string(n));
        set_threads(n);
    });
    m.def("threading_layer", [] { return std::string(threading_layer()); });
    m.def("threading_runtime", &threading_runtime);
    m.def("count_cores", &count_cores, py::arg("root"), py::arg("available"));
    m.def(
        "empty_regions",
        [](dim count) {
            const py::gil_scoped_release free;
            for (dim i = 0; i < count; ++i) run_chunks(2, [](void*, dim) {}, nullptr);
        },
        py::arg("count"));
}

}  // namespace pydl

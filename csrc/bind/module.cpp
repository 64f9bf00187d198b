#include "bind/bind.h"

namespace py = pybind11;

PYBIND11_MODULE(_core, m, py::mod_gil_not_used()) {
    m.doc() = "Compiled core of pydl: buffers, kernels, recorded programs.";
    pydl::bind_config(m);
    pydl::bind_buffer(m);
    pydl::bind_interrupt(m);
    pydl::bind_kernels(m);
    pydl::bind_lease(m);
    pydl::bind_program(m);
}

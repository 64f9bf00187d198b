// Ctrl-C inside kernels: base/interrupt.h asks, Python answers.
#include "base/interrupt.h"

#include "bind/bind.h"

namespace py = pybind11;

namespace pydl {
namespace {

// Runs the handlers of pending signals; whether one raised. The exception stays with the thread until it is back in
// Python. What the handler does is no part of the recording that the kernel may belong to.
bool run_signal_handlers() {
    const PyGILState_STATE gil = PyGILState_Ensure();
    bool raised;
    {
        const Unrecorded handler;
        raised = PyErr_CheckSignals() != 0;
    }
    PyGILState_Release(gil);
    return raised;
}

}  // namespace

void raise_if_interrupted() {
    if (!watch().raised) return;
    watch().raised = false;
    throw py::error_already_set();
}

void bind_interrupt(py::module_&) {
    const auto main_thread = py::module_::import("threading").attr("main_thread")().attr("ident");
    set_interrupt_hook(&run_signal_handlers, main_thread.cast<unsigned long>());
}

}  // namespace pydl

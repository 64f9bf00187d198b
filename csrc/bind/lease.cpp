#include "bind/lease.h"

#include <chrono>

#include "bind/bind.h"

namespace py = pybind11;

namespace pydl {
namespace {

// How long Ctrl-C goes unnoticed by a thread that waits.
constexpr auto kInterval = std::chrono::milliseconds(50);

unsigned long this_thread() { return PyThread_get_thread_ident(); }

}  // namespace

template <class F>
void Waiting::wait(std::unique_lock<std::mutex>& lock, F ready) {
    while (!ready()) {
        {
            const py::gil_scoped_release released;
            moved_.wait_for(lock, kInterval);
            lock.unlock();
        }
        const bool raised = PyErr_CheckSignals() != 0;
        lock.lock();
        if (raised) throw py::error_already_set();
    }
}

void Gate::enter() {
    inside_.fetch_add(1);  // before looking whether it is closed: who closes it looks here afterwards
    const unsigned long closer = closed_by_.load();
    if (closer == 0 || closer == this_thread()) return;
    wait_until_open();
}

void Gate::wait_until_open() {
    std::unique_lock lock(mutex_);
    if (closed_by_.load() == 0) return;
    const long closing = closings_;
    ++waiting_;
    inside_.fetch_sub(1);
    moved_.notify_all();
    const auto move_on = [&] {
        if (closings_ == closing) {
            --waiting_;
        } else {
            --admitted_;
            moved_.notify_all();
        }
    };
    try {
        wait(lock, [&] { return closings_ != closing; });
    } catch (...) {
        move_on();
        throw;
    }
    inside_.fetch_add(1);
    move_on();
}

void Gate::leave() {
    inside_.fetch_sub(1);
    if (closed_by_.load() == 0) return;
    const std::lock_guard lock(mutex_);
    moved_.notify_all();
}

void Gate::close() {
    std::unique_lock lock(mutex_);
    wait(lock, [&] { return closed_by_.load() == 0 && admitted_ == 0; });
    closed_by_.store(this_thread());
    try {
        wait(lock, [&] { return inside_.load() == 0; });
    } catch (...) {
        set_open();
        throw;
    }
}

void Gate::open() {
    const std::lock_guard lock(mutex_);
    set_open();
}

void Gate::set_open() {
    closed_by_.store(0);
    ++closings_;
    admitted_ += waiting_;
    waiting_ = 0;
    moved_.notify_all();
}

Places::Places(int count) {
    for (int place = count - 1; place >= 0; --place) free_.push_back(place);
}

int Places::take() {
    std::unique_lock lock(mutex_);
    wait(lock, [&] { return !free_.empty(); });
    const int place = free_.back();
    free_.pop_back();
    return place;
}

void Places::give(int place) {
    const std::lock_guard lock(mutex_);
    free_.push_back(place);
    moved_.notify_one();
}

void bind_lease(py::module_& m) {
    // What __enter__ and __exit__ of `with gate.reading:` belong to.
    struct Reading {
        std::shared_ptr<Gate> gate;
    };
    py::class_<Reading>(m, "Reading")
        .def("__enter__", [](const Reading& r) { r.gate->enter(); })
        .def("__exit__", [](const Reading& r, const py::args&) { r.gate->leave(); });
    py::class_<Gate, std::shared_ptr<Gate>>(m, "Gate")
        .def(py::init<>())
        .def_property_readonly("reading", [](const std::shared_ptr<Gate>& gate) { return Reading{gate}; })
        .def("__enter__", &Gate::close)
        .def("__exit__", [](Gate& gate, const py::args&) { gate.open(); });
    py::class_<Lease>(m, "Lease").def("__enter__", &Lease::enter).def("__exit__", [](Lease& lease, const py::args&) {
        lease.exit();
    });
    py::class_<Places, std::shared_ptr<Places>>(m, "Places")
        .def(py::init<int>(), py::arg("count"))
        .def("lease", [](const std::shared_ptr<Places>& places) { return Lease(places); });
}

}  // namespace pydl

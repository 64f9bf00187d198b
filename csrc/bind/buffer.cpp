// NumPy arrays over memory of ours: the open program's arena, else the heap.
#include <pybind11/numpy.h>

#include <memory>

#include "base/memory.h"
#include "bind/bind.h"
#include "program/program.h"

namespace py = pybind11;

namespace pydl {
namespace {

struct Block {
    std::shared_ptr<Arena> arena;  // null: heap
    void* data;
    ~Block() {
        if (arena) arena->release(data);
        else release(data);
    }
};

py::array empty(const py::tuple& shape, const py::object& type) {
    const py::dtype dtype = py::dtype::from_args(type);
    py::ssize_t count = 1;
    std::vector<py::ssize_t> extents;
    extents.reserve(shape.size());
    for (const auto& item : shape) {
        const auto n = PyNumber_AsSsize_t(item.ptr(), PyExc_OverflowError);
        if (n == -1 && PyErr_Occurred()) throw py::error_already_set();
        if (n < 0)
            throw py::value_error("empty: expected dimensions of at least 0; received shape " +
                                  py::repr(shape).cast<std::string>());
        if (__builtin_mul_overflow(count, n, &count))
            throw py::value_error("empty: shape " + py::repr(shape).cast<std::string>() + " is too large");
        extents.push_back(n);
    }
    py::ssize_t bytes;
    if (__builtin_mul_overflow(count, dtype.itemsize(), &bytes) || bytes > (py::ssize_t{1} << 46))
        throw py::value_error("empty: shape " + py::repr(shape).cast<std::string>() + " is too large");
    Recorder& r = recorder();
    auto block = std::make_unique<Block>();
    if (r.open && !r.dry) {
        block->arena = r.open->arena();
        block->data = block->arena->allocate(static_cast<std::size_t>(bytes));
    } else {
        block->data = allocate(static_cast<std::size_t>(bytes));
    }
    void* data = block->data;
    py::capsule owner(block.release(), [](void* p) { delete static_cast<Block*>(p); });
    return py::array(dtype, extents, data, owner);
}

}  // namespace

void bind_buffer(py::module_& m) { m.def("empty", &empty, py::arg("shape"), py::arg("dtype")); }

}  // namespace pydl

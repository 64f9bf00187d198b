// NumPy arrays over memory of ours: the open program's arena, else the heap.
#include <pybind11/numpy.h>

#include <memory>

#include "base/memory.h"
#include "bind/bind.h"
#include "program/program.h"

namespace py = pybind11;

namespace pydl {
namespace {

constexpr double kMostBytes = double{std::int64_t{1} << 46};  // half of a process's addresses

struct Block {
    std::shared_ptr<Arena> arena;  // null: heap
    void* data;
    ~Block() {
        if (arena) arena->release(data);
        else release(data);
    }
};

// What an array holds. A number of bytes need not fit into memory, or into 64 bits.
struct Extents {
    std::vector<py::ssize_t> sizes;
    double bytes;
};

// Throws OutOfMemory where there is no room, unless nobody will touch it (shapes without values are looked for).
Extents extents_of(const py::tuple& shape, const py::dtype& dtype) {
    std::vector<py::ssize_t> sizes;
    sizes.reserve(shape.size());
    double others = static_cast<double>(dtype.itemsize());  // as if no size were 0: strides multiply them
    bool is_empty = false;
    for (const auto& item : shape) {
        const auto n = PyNumber_AsSsize_t(item.ptr(), nullptr);  // clipped to what the type holds
        if (n == -1 && PyErr_Occurred()) throw py::error_already_set();
        if (n < 0)
            throw py::value_error("An array has dimensions of at least 0; received shape " +
                                  py::repr(shape).cast<std::string>());
        if (n == 0) is_empty = true;
        else others *= static_cast<double>(n);
        sizes.push_back(n);
    }
    const double bytes = is_empty ? 0 : others;
    if (others >= kLargeRequest) {
        const std::string what = "An array of shape " + py::repr(shape).cast<std::string>().substr(0, 200) +
                                 " and dtype " + py::str(dtype).cast<std::string>();
        if (others > kMostBytes) throw OutOfMemory(what + " is larger than any memory.");
        if (!recorder().dry) require_memory(bytes, what);
    }
    return {std::move(sizes), bytes};
}

py::array empty(const py::tuple& shape, const py::object& type) {
    const py::dtype dtype = py::dtype::from_args(type);
    const Extents extents = extents_of(shape, dtype);
    const auto size = static_cast<std::size_t>(extents.bytes);
    Recorder& r = recorder();
    auto block = std::make_unique<Block>();
    if (r.open && !r.dry) {
        block->arena = r.open->arena();
        block->data = block->arena->allocate(size);
    } else {
        block->data = allocate_untouched(size);
    }
    void* data = block->data;
    py::capsule owner(block.release(), [](void* p) { delete static_cast<Block*>(p); });
    return py::array(dtype, extents.sizes, data, owner);
}

}  // namespace

void bind_buffer(py::module_& m) {
    m.def("empty", &empty, py::arg("shape"), py::arg("dtype"));
    // Raises MemoryError where `empty` would: for arrays that NumPy is asked for.
    m.def(
        "require_room",
        [](const py::tuple& shape, const py::object& type) { extents_of(shape, py::dtype::from_args(type)); },
        py::arg("shape"), py::arg("dtype"));
    m.def("memory_left", &memory_left, py::arg("root") = "");
}

}  // namespace pydl

// The rooms of the module; module.cpp is their table of contents.
#pragma once
#include <pybind11/pybind11.h>

#include <string>

#include "program/program.h"

namespace pydl {

struct Kernel;
struct Param;

void bind_config(pybind11::module_& m);
void bind_buffer(pybind11::module_& m);
void bind_interrupt(pybind11::module_& m);
void bind_kernels(pybind11::module_& m);
void bind_lease(pybind11::module_& m);
void bind_program(pybind11::module_& m);

// "in", "out", "inout", with "?" where None may stand and "[]" for a list; "size", "sizes", "scalar".
std::string access_name(const Param& p);

// Raises what the CHECK row names.
[[noreturn]] void raise_failed_check(const Kernel& kernel, const std::string& text);

// Called for every array a recorded step uses and that the program's arena does not own.
void keep_alive_while_recorded(const pybind11::object& array, const void* data);

// While it lives, what this thread does is no part of the recording that is open.
class Unrecorded {
public:
    Unrecorded();
    ~Unrecorded();

private:
    void* program_;
    Recorder recorder_;
};

// Throws what a signal handler raised while a kernel ran; called after every kernel and program, with the GIL.
void raise_if_interrupted();

}  // namespace pydl

#pragma once

#include <pybind11/pybind11.h>

#include "seqsgd/simd/simd.hpp"

namespace py = pybind11;

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

void bind_random(py::module_& m);
void bind_task(py::module_& m);
void bind_chi_square(py::module_& m);
void bind_settings(py::module_& m);
void bind_simulations(py::module_& m);
void bind_ffi(py::module_& m);

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd

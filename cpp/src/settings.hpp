#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include "seqsgd/run/simulation.hpp"

namespace py = pybind11;

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

struct Call {
  Settings s;
  Index runs, first_run;
  int threads;
  bool single;  // float32
};

// A learning rate from arrays.
LearningRate rate_of(const py::array& steps, const py::array& values, double t0, double power);

// Raises TypeError or ValueError naming the keyword.
Call read_call(const Task& task, const py::kwargs& kwargs);

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd

// Arrays at the border: C-contiguous, of the right type and shape, or one clear error.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <string>
#include <vector>

#include "seqsgd/simd/simd.hpp"

namespace py = pybind11;

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

inline std::string shape_text(const py::array& a) {
  std::string s = "(";
  for (py::ssize_t i = 0; i < a.ndim(); ++i) s += (i ? ", " : "") + std::to_string(a.shape(i));
  return s + (a.ndim() == 1 ? ",)" : ")");
}

// The data of `a`, checked: dtype T, C-contiguous, at an address fit for T and of this shape (-1:
// any length).
template <class T>
const T* checked(const py::array& a, const char* name, const std::vector<Index>& shape,
                 const char* letters) {
  bool fits = a.ndim() == py::ssize_t(shape.size());
  for (std::size_t i = 0; fits && i < shape.size(); ++i)
    fits = shape[i] < 0 || a.shape(py::ssize_t(i)) == shape[i];
  if (!fits) {
    std::string want;
    for (std::size_t i = 0; i < shape.size(); ++i)
      want += (i ? ", " : "") + (shape[i] < 0 ? std::string("any") : std::to_string(shape[i]));
    throw py::value_error(std::string(name) + ": expected shape " + letters + " = (" + want +
                          "), got " + shape_text(a));
  }
  if (!py::isinstance<py::array_t<T>>(a) || !(a.flags() & py::array::c_style) ||
      !(a.flags() & py::detail::npy_api::NPY_ARRAY_ALIGNED_))
    throw py::type_error(std::string(name) + ": expected a C-contiguous, aligned array of " +
                         py::str(py::dtype::of<T>()).cast<std::string>() + ", got dtype " +
                         py::str(a.dtype()).cast<std::string>());
  return static_cast<const T*>(a.data());
}

inline std::vector<double> vector_of(const py::array& a, const char* name, Index n,
                                     const char* letters) {
  const double* p = checked<double>(a, name, {n}, letters);
  return std::vector<double>(p, p + a.size());
}

template <class T>
py::array_t<T> array_of(std::vector<Index> shape) {
  return py::array_t<T>(std::vector<py::ssize_t>(shape.begin(), shape.end()));
}
template <class T>
py::array_t<T> array_of(std::vector<Index> shape, const T* from) {
  py::array_t<T> a = array_of<T>(std::move(shape));
  std::copy_n(from, a.size(), a.mutable_data());
  return a;
}

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd

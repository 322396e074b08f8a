// Table of contents of the compiled module. One module is built per instruction set, from the same
// sources.
#include "bind.hpp"

#include <Eigen/Core>

#define SEQSGD_TEXT_(x) #x
#define SEQSGD_TEXT(x) SEQSGD_TEXT_(x)

PYBIND11_MODULE(SEQSGD_MODULE, m, py::mod_gil_not_used()) {
  m.attr("__module__") = "seqsgd._core";  // of all that is defined here: nobody should see which
                                          // variant a thing is from
  m.attr("level") = SEQSGD_TEXT(SEQSGD_LEVEL);
  m.def("build_info", [] {
    py::dict d;
    d["level"] = SEQSGD_TEXT(SEQSGD_LEVEL);
    d["tuned"] = SEQSGD_IS_NATIVE ? "for the machine that built it" : "for any machine";
    d["compiler"] =
#if defined(__clang__)
        "clang " __clang_version__;
#else
        "gcc " __VERSION__;
#endif
    d["eigen"] = SEQSGD_TEXT(EIGEN_WORLD_VERSION) "." SEQSGD_TEXT(
        EIGEN_MAJOR_VERSION) "." SEQSGD_TEXT(EIGEN_MINOR_VERSION);
    d["pybind11"] = SEQSGD_TEXT(PYBIND11_VERSION_MAJOR) "." SEQSGD_TEXT(PYBIND11_VERSION_MINOR);
    d["cplusplus"] = std::to_string(__cplusplus);
    d["version"] = SEQSGD_VERSION;
    return d;
  });
  seqsgd::bind_random(m);
  seqsgd::bind_chi_square(m);
  seqsgd::bind_task(m);
  seqsgd::bind_settings(m);
  seqsgd::bind_simulations(m);
  seqsgd::bind_ffi(m);
}

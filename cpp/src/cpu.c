/* Which of the built variants this processor runs. A module of its own, compiled for the baseline only. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static const char *widest(void) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
        __builtin_cpu_supports("f16c") && __builtin_cpu_supports("lzcnt") && __builtin_cpu_supports("movbe")))
    return "baseline";
  if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")))
    return "avx2";
  return "avx512";
#else
  return "baseline";
#endif
}

static PyObject *py_widest(PyObject *self, PyObject *args) {
  (void)self;
  (void)args;
  return PyUnicode_FromString(widest());
}

static PyMethodDef methods[] = {{"widest", py_widest, METH_NOARGS, "Widest instruction set of this processor: baseline, avx2 or avx512."}, {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL}};
static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_cpu", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__cpu(void) { return PyModuleDef_Init(&module); }

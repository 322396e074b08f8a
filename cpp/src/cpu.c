/* Which of the built variants this processor runs. A module of its own, compiled for the baseline
 * only. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if defined(__x86_64__) || defined(_M_X64)

#if defined(_MSC_VER)
#include <intrin.h>
static void cpuid(unsigned leaf, unsigned out[4]) { __cpuidex((int*)out, (int)leaf, 0); }
#if defined(__clang__)
__attribute__((target("xsave")))
#endif
static unsigned saved_registers(void) {
  return (unsigned)_xgetbv(0);
}
#else
#include <cpuid.h>
static void cpuid(unsigned leaf, unsigned out[4]) {
  __cpuid_count(leaf, 0, out[0], out[1], out[2], out[3]);
}
static unsigned saved_registers(void) {
  unsigned low, high;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return low;
}
#endif

static int has(unsigned word, unsigned bits) { return (word & bits) == bits; }

/* By cpuid itself: the compilers' __builtin_cpu_supports knows different names in each, and on
 * Windows none. */
static const char* widest(void) {
  const unsigned fma = 1u << 12, movbe = 1u << 22, osxsave = 1u << 27, avx = 1u << 28,
                 f16c = 1u << 29;                               /* leaf 1, ecx */
  const unsigned bmi = 1u << 3, avx2 = 1u << 5, bmi2 = 1u << 8; /* leaf 7, ebx */
  const unsigned avx512f = 1u << 16, dq = 1u << 17, cd = 1u << 28, bw = 1u << 30, vl = 1u << 31;
  const unsigned lzcnt = 1u << 5;                        /* leaf 0x80000001, ecx */
  const unsigned ymm = 1u << 1 | 1u << 2, zmm = 7u << 5; /* what the system saves of a thread */
  unsigned r[4], features;
  cpuid(0, r);
  if (r[0] < 7) return "baseline";
  cpuid(1, r);
  if (!has(r[2], fma | movbe | osxsave | avx | f16c) || !has(saved_registers(), ymm))
    return "baseline";
  cpuid(0x80000000u, r);
  if (r[0] < 0x80000001u) return "baseline";
  cpuid(0x80000001u, r);
  if (!has(r[2], lzcnt)) return "baseline";
  cpuid(7, r);
  features = r[1];
  if (!has(features, bmi | avx2 | bmi2)) return "baseline";
  return has(features, avx512f | dq | cd | bw | vl) && has(saved_registers(), ymm | zmm) ? "avx512"
                                                                                         : "avx2";
}

#else

static const char* widest(void) { return "baseline"; } /* aarch64: NEON is the baseline */

#endif

static PyObject* py_widest(PyObject* self, PyObject* args) {
  (void)self;
  (void)args;
  return PyUnicode_FromString(widest());
}

static PyMethodDef methods[] = {
    {"widest", py_widest, METH_NOARGS,
     "Widest instruction set of this processor: baseline, avx2 or avx512."},
    {NULL, NULL, 0, NULL}};
static PyModuleDef_Slot slots[] = {
#ifdef Py_GIL_DISABLED
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL}};
static struct PyModuleDef module = {
    PyModuleDef_HEAD_INIT, "_cpu", NULL, 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__cpu(void) { return PyModuleDef_Init(&module); }

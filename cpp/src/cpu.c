/* Which of the built variants this processor runs. A module of its own, compiled for the baseline only. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#if defined(_MSC_VER) && (defined(_M_X64) || defined(__x86_64__))
#include <immintrin.h>
#include <intrin.h>

#if defined(__clang__)
#define XGETBV __attribute__((target("xsave")))
#else
#define XGETBV
#endif

/* Windows' compilers have no runtime support for __builtin_cpu_supports: the same features from cpuid, and whether the system saves their registers. */
XGETBV static const char *widest(void) {
  const unsigned leaf1_ecx = 1u << 12 | 1u << 22 | 1u << 27 | 1u << 28 | 1u << 29; /* fma, movbe, osxsave, avx, f16c */
  const unsigned leaf7_avx2 = 1u << 3 | 1u << 5 | 1u << 8;                         /* bmi, avx2, bmi2 */
  const unsigned leaf7_avx512 = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31; /* f, dq, cd, bw, vl */
  int info[4];
  unsigned ebx;
  unsigned long long saved;
  __cpuid(info, 0);
  if (info[0] < 7) return "baseline";
  __cpuid(info, 1);
  if (((unsigned)info[2] & leaf1_ecx) != leaf1_ecx) return "baseline";
  saved = _xgetbv(0);
  __cpuidex(info, 7, 0);
  ebx = (unsigned)info[1];
  __cpuid(info, (int)0x80000000u);
  if ((unsigned)info[0] < 0x80000001u) return "baseline";
  __cpuid(info, (int)0x80000001u);
  if ((saved & 0x06) != 0x06 || (ebx & leaf7_avx2) != leaf7_avx2 || !((unsigned)info[2] & 1u << 5)) return "baseline"; /* 5: lzcnt */
  return (saved & 0xE6) == 0xE6 && (ebx & leaf7_avx512) == leaf7_avx512 ? "avx512" : "avx2";
}

#elif defined(__x86_64__)

static const char *widest(void) {
  __builtin_cpu_init();
  if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
        __builtin_cpu_supports("f16c") && __builtin_cpu_supports("lzcnt") && __builtin_cpu_supports("movbe")))
    return "baseline";
  if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl")))
    return "avx2";
  return "avx512";
}

#else

static const char *widest(void) { return "baseline"; } /* aarch64: NEON is the baseline */

#endif

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

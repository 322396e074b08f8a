// A simulation as C code sees it: the first run of an object that Python owns.
#pragma once

#include <cstdint>

#include "seqsgd/simd/simd.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

class Steppable {
 public:
  virtual Index step_now() = 0;
  virtual Index advance_by(Index n) = 0;                                            // steps done
  virtual Index feed(const void* X, const double* y, Index n, double* losses) = 0;  // steps done
  virtual void measure(double* m, double* q, double* e, double* loss) = 0;  // each may be null
  virtual void put_weights(double* w) = 0;
  virtual void sizes(
      std::int64_t* out) = 0;  // L, d, k, weight vectors, positions, bytes of a number in X

 protected:
  ~Steppable() = default;
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd

// Which token sees which weight, and which weights share a sphere: two separate things.
#pragma once

#include "seqsgd/simd/checks.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// The student's fields: field f is z_f = x_l . w_i (+ what the position adds), (l, i) = field(f).
// As it is made: every token sees the one weight, whatever L.
struct FieldMap {
  struct Field {
    Index token, weight;
  };
  Index tokens = 0, weights = 1;  // tokens = 0: as many as there are
  bool own = false;               // token l sees weight l alone; else every token every weight

  static FieldMap shared(Index L, Index p = 1) {
    checks::within("L", L, 1, most);
    checks::within("p", p, 1, most);
    return {L, p, false};
  }
  static FieldMap per_token(Index L) {
    checks::within("L", L, 1, most);
    return {L, L, true};
  }

  Index size() const { return own ? tokens : tokens * weights; }
  Field field(Index f) const { return own ? Field{f, f} : Field{f / weights, f % weights}; }
  bool one_weight() const { return !own && weights == 1; }
  FieldMap of_length(Index L) const { return {L, weights, own}; }

  static constexpr Index most = Index(1) << 31;  // tokens, or weights
};

// Weight i is on sphere of(i); squared norms over d on a sphere sum up to the number of its
// weights. As it is made: each weight on its own, however many there are.
struct Spheres {
  Index weights = 0;    // 0: as many as there are
  bool common = false;  // all weights on one sphere; else each on its own

  static Spheres own(Index weights) {
    checks::within("weights", weights, 1, FieldMap::most);
    return {weights, false};
  }
  static Spheres one(Index weights) {
    checks::within("weights", weights, 1, FieldMap::most);
    return {weights, true};
  }

  Index of(Index i) const { return common ? 0 : i; }
  bool one() const { return common; }
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd

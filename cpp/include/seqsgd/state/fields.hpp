// Which token sees which weight, and which weights share a sphere: two separate things.
#pragma once

#include <vector>

#include "seqsgd/simd/checks.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// The student's fields: field f is z_f = x_l . w_i (+ what the position adds), (l, i) = fields[f].
// As it is made, with no fields: every token sees the one weight, whatever L.
struct FieldMap {
  struct Field {
    Index token, weight;
  };
  Index tokens = 0, weights = 1;
  std::vector<Field> fields;
  bool own = false;  // token l sees weight l alone

  // Every token sees every weight.
  static FieldMap shared(Index L, Index p = 1) {
    checks::within("L", L, 1, most);
    checks::within("p", p, 1, most);
    FieldMap map{L, p, {}};
    for (Index l = 0; l < L; ++l)
      for (Index i = 0; i < p; ++i) map.fields.push_back({l, i});
    return map;
  }
  // Token l sees weight l.
  static FieldMap per_token(Index L) {
    checks::within("L", L, 1, most);
    FieldMap map{L, L, {}, true};
    for (Index l = 0; l < L; ++l) map.fields.push_back({l, l});
    return map;
  }

  Index size() const { return Index(fields.size()); }
  bool one_weight() const { return !own && weights == 1; }
  // With its fields written out.
  FieldMap of_length(Index L) const { return fields.empty() ? shared(L, 1) : *this; }

  static constexpr Index most = Index(1) << 31;  // tokens, or weights
};

// Weight i is on sphere of[i]; squared norms over d on a sphere sum up to the number of its
// weights. As it is made: each weight on its own.
struct Spheres {
  std::vector<Index> of;
  bool common = false;  // all weights on one sphere

  static Spheres own(Index weights) {
    checks::within("weights", weights, 1, FieldMap::most);
    Spheres out;
    for (Index i = 0; i < weights; ++i) out.of.push_back(i);
    return out;
  }
  static Spheres one(Index weights) {
    checks::within("weights", weights, 1, FieldMap::most);
    return {std::vector<Index>(std::size_t(weights), 0), true};
  }

  bool one() const { return common; }
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd

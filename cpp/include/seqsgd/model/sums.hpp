// Students and links of sums over tokens, which have kernels of their own.
#pragma once

#include "seqsgd/model/links.hpp"
#include "seqsgd/model/students.hpp"

namespace seqsgd {
inline namespace SEQSGD_LEVEL {

// What a kernel asks of a link and a student.
struct Sums {
  Sums(const Link& g, const Student& f)
      : network(dynamic_cast<const Network*>(&f)), student_of_sum(network) {
    if (const auto* sum = dynamic_cast<const SumLink*>(&g)) {
      first = sum->first();
      second = sum->second();
    }
    link_of_sums = first != 0 || second != 0;
    link_of_sum = link_of_sums && second == 0;
  }

  // The label, of the sums of z* and of its squares.
  SEQSGD_INLINE Pack label(const Pack& sum, const Pack& squares, int L) const {
    return no_contract(first * sum) + second * (squares - double(L));
  }

  const Network* network;        // the student, if it is one
  double first = 0, second = 0;  // g = first sum_l z_l + second sum_l (z_l^2 - 1)
  bool student_of_sum;           // it sees sum_l z_l alone, so that all delta_l are equal
  bool link_of_sums;             // it depends on the sum of z* and on that of its squares alone
  bool link_of_sum;              // on the former alone
};

}  // namespace SEQSGD_LEVEL
}  // namespace seqsgd

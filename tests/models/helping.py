"""A user module that functions of the zoo import."""

import numpy as np

FACTOR = 2.0


def f(z):
    return FACTOR * z[0]


def g(z):
    return FACTOR * z[0] + np.tanh(z[0])


class Curves:
    """Functions kept in a class."""

    @staticmethod
    def square(z):
        return z[0] ** 2

    @classmethod
    def cube(cls, z):
        return cls.square(z) * z[0]

    def fourth(self, z):
        return self.square(z) ** 2

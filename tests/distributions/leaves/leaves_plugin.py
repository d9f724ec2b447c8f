"""Raises what is no Exception when imported."""


class Leaves(BaseException):
    pass


raise Leaves("nobody expects me")

"""Who may come to the API, and what he may: roles, the file of people, and the gate that asks both."""

from extproc.controller.access.gate import BEYOND, Gate, read_access
from extproc.controller.access.people import LONGEST_NAME, Access, OneToken, People, Who, digest, name_problem, read_people
from extproc.controller.access.roles import OPERATOR_ACTS, Role, needed_for

__all__ = [
    "BEYOND",
    "LONGEST_NAME",
    "OPERATOR_ACTS",
    "Access",
    "Gate",
    "OneToken",
    "People",
    "Role",
    "Who",
    "digest",
    "name_problem",
    "needed_for",
    "read_access",
    "read_people",
]

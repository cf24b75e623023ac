"""What a SQLSTATE says of a failed statement: whether its values are to blame, or the state of the database.

The first two characters are the class (PostgreSQL's documentation, appendix A). A class that nobody has thought of is
about the database: to try again costs time, to give up costs a charge.
"""

from typing import Final

ABOUT_DATA: Final = {
    "21": "cardinality violation: a row met twice by one statement",
    "22": "data exception: a value that its type, its encoding or a function refuses",
    "23": "integrity constraint violation",
    "27": "triggered data change violation",
    "44": "WITH CHECK OPTION violation",
    "54": "program limit exceeded: a value too large for its index or too deep for the parser",
}
"""Classes after which the same values fail again, however often they are tried."""


def class_of(code: str) -> str:
    """The class of a SQLSTATE, as a metric's label."""
    return code[:2]


def is_about_data(code: str) -> bool:
    """Whether the statement's values are to blame."""
    return class_of(code) in ABOUT_DATA

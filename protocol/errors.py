"""The exceptions of Sealora.

SealoraError
├── UsageError          exit 2   bad arguments, plans or data: the user can mend it
│   ├── PlanError                a plan or a site.toml that cannot be used, with its file, line and remedy
│   ├── DataError                a site's data that cannot be used
│   └── ModelError               a base model or adapter that cannot be loaded
├── RunError            exit 1   the run could not go on
│   ├── AttemptFailed            one attempt of a round was lost; another may succeed
│   └── AttemptPending           shares have left: the attempt is to be finished, not replaced
├── RefusedError        exit 3   a policy or a budget forbids it
│   └── BudgetError              a privacy budget that is used up
└── ProtocolError       exit 1   a message that breaks the protocol, with its failure class
"""


class SealoraError(Exception):
    """Something that a user is told in one line: what went wrong, and what to do about it."""

    exit_code = 1

    def __init__(self, message: str, remedy: str = "") -> None:
        super().__init__(f"{message} {remedy}".rstrip())
        self.message = message
        self.remedy = remedy


class UsageError(SealoraError):
    """The request itself cannot be carried out; nothing was started."""

    exit_code = 2


class PlanError(UsageError):
    """A plan, or a site's settings, that are malformed or impossible."""


class DataError(UsageError):
    """A data file or table that cannot be used."""


class ModelError(UsageError):
    """A base model or an adapter that cannot be loaded."""


class RunError(SealoraError):
    """The run stopped; what it had finished is kept."""


class AttemptFailed(RunError):
    """An attempt of a round ended without a sum; `culprits` leave the cohort of the next one."""

    def __init__(self, message: str, culprits: frozenset[str] = frozenset()) -> None:
        super().__init__(message)
        self.culprits = culprits


class AttemptPending(RunError):
    """Sites have begun to open a session, and it can still be opened: another attempt would spoil that."""


class RefusedError(SealoraError):
    """A site's policy or a privacy budget forbids the work."""

    exit_code = 3


class BudgetError(RefusedError):
    """A privacy budget would be exceeded; what is spent does not come back."""


class ProtocolError(SealoraError):
    """A message that an honest party would not have sent.

    `failure` names the class of the failure, as the test vectors do.
    """

    def __init__(self, failure: str, message: str) -> None:
        super().__init__(message)
        self.failure = failure
